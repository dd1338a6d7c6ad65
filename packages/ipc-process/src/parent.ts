/** The spawned side: serves the process that spawned this one, over the descriptor that was inherited. */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { show, SystemError, type Channel, type ServerContext } from '@spanwire/ipc-core';
import { acceptChannelOn } from '@spanwire/ipc-socket';
import type { RpcTarget } from 'capnweb';
import { delay } from './abortable.ts';
import { MARKER } from './program.ts';
import { isOrderly, Session, type ListenBeside, type SessionSettings } from './session.ts';

/** The descriptor in the arguments of this process; undefined when this is not the marker form. Throws TypeError on a malformed number. */
export function inheritedDescriptor(argv: readonly string[]): number | undefined {
  const [, , marker, number] = argv;
  if (argv.length !== 4 || marker !== MARKER || number === undefined) return undefined;
  const descriptor = Number(number);
  if (!/^\d{1,10}$/.test(number) || descriptor > 2 ** 31 - 1) {
    throw new TypeError(`Expected a descriptor number after ${MARKER}, got ${show(number)}`);
  }
  return descriptor;
}

/** Opens the inherited descriptor; throws ERR_IPC_SYSTEM when it is none, or no pipe or socket. */
export function openInherited(descriptor: number): Socket {
  try {
    // Tells what is not open; the socket only says that it does not like the kind.
    fstatSync(descriptor);
    return new Socket({ fd: descriptor, readable: true, writable: true });
  } catch (error) {
    const { syscall, code: said = 'UNKNOWN' } = error as NodeJS.ErrnoException;
    const code = syscall === undefined ? 'ENOTSOCK' : said;
    throw new SystemError('open', code, `Expected descriptor ${descriptor} to be an inherited socket, got ${code}`, {
      cause: error,
    });
  }
}

export interface ParentContext {
  readonly init: RpcTarget;
  readonly session: SessionSettings;
  readonly server: ServerContext;
  /** Listens on `address` for one channel; resolves when it can be connected to. */
  readonly listenOnce: (address: string, onChannel: (channel: Channel) => void) => Promise<void>;
}

/** Serves until the channel closes. Whether it ended as it should: the parent said goodbye. */
export class ParentConnection {
  readonly #context: ParentContext;
  readonly #sessions: Session[] = [];
  #over = false;

  constructor(context: ParentContext) {
    this.#context = context;
  }

  async serve(socket: Socket): Promise<boolean> {
    // The terminal sends an interrupt to every process in it; for this one, its parent decides.
    process.on('SIGINT', ignore);
    try {
      return await this.#serve(socket);
    } finally {
      process.off('SIGINT', ignore);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.close()));
  }

  async #serve(socket: Socket): Promise<boolean> {
    const { session: settings, server, init } = this.#context;
    const listenBeside: ListenBeside = (address) =>
      this.#context.listenOnce(address, (beside) => {
        if (this.#over) void beside.close('shutdown');
        else this.#sessions.push(new Session(beside, settings, init));
      });
    let channel: Channel;
    try {
      channel = await acceptChannelOn(socket, server);
    } catch (error) {
      settings.warn('The process that spawned this one did not open its channel', error);
      return false;
    }
    const session = new Session(channel, settings, init, listenBeside);
    this.#sessions.push(session);
    const { reason } = await session.ended;
    this.#over = true;
    // What runs may finish, but nobody waits for it any more.
    const grace = new AbortController();
    await Promise.race([this.#drain(), delay(settings.graceMs, grace.signal).catch(ignore)]);
    grace.abort();
    return isOrderly(reason);
  }

  async #drain(): Promise<void> {
    await this.close();
    await Promise.all(this.#sessions.map((session) => session.drained()));
  }
}

function ignore(): void {}
