/** Serves whoever connects to an address, a limited number at a time. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Deque, SystemError, type Channel, type Listener } from '@spanwire/ipc-core';
import type { RpcTarget } from 'capnweb';
import type { ResolvedAddress } from './address.ts';
import { Session, type SessionSettings } from './session.ts';

/** An address that is served. Disposing it frees the address; connections live on. */
export interface Listening extends AsyncDisposable {
  /** The address as it is bound, such as `unix:/full/path`. */
  readonly address: string;
}

export class ListeningAddress implements Listening {
  readonly #resolved: string;
  /** Resolves when the address is free and the last connection has ended. */
  readonly finished: Promise<void>;
  readonly #listener: Listener;
  readonly #init: RpcTarget;
  readonly #settings: SessionSettings;
  readonly #maxConnections: number;
  readonly #sessions = new Set<Session>();
  /** Connected, but nothing that they send is read: for them, accepting is paused. */
  readonly #waiting = new Deque<Channel>();
  #closing: Promise<void> | undefined;
  #closed = false;
  #finish!: () => void;

  constructor(address: string, listener: Listener, init: RpcTarget, settings: SessionSettings, maxConnections: number) {
    this.#resolved = address;
    this.#listener = listener;
    this.#init = init;
    this.#settings = settings;
    this.#maxConnections = maxConnections;
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
    listener.onError = (error) => settings.warn(`Accepting on ${address} failed`, error);
    listener.onTakeover = () => void this[Symbol.asyncDispose]();
    listener.onChannel = (channel) => {
      // It may end while it waits; once it has, nobody else is told.
      channel.onClosed = () => this.#waiting.remove(channel);
      this.#waiting.push(channel);
      this.#admit();
    };
  }

  get address(): string {
    // Some transports know more once they listen, such as the real port.
    const listener: Listener & { readonly address?: unknown } = this.#listener;
    return typeof listener.address === 'string' ? listener.address : this.#resolved;
  }

  /** Drops every connection; resolves when the calls of them have finished. */
  async disconnect(): Promise<void> {
    await Promise.all(
      [...this.#sessions].map(async (session) => {
        await session.close();
        await session.drained();
      }),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#listener.close();
    await Promise.all(this.#waiting.drain().map((channel) => channel.close('shutdown')));
    this.#closed = true;
    if (this.#sessions.size === 0) this.#finish();
  }

  #admit(): void {
    while (this.#sessions.size < this.#maxConnections) {
      const channel = this.#waiting.shift();
      if (channel === undefined) return;
      this.#serve(channel);
    }
  }

  #serve(channel: Channel): void {
    let session: Session;
    try {
      session = new Session(channel, this.#settings, this.#init);
    } catch (error) {
      this.#settings.warn(`A connection to ${this.address} was refused`, error);
      return;
    }
    this.#sessions.add(session);
    void session.ended.then(() => {
      this.#sessions.delete(session);
      this.#admit();
      if (this.#closed && this.#sessions.size === 0) this.#finish();
    });
  }
}

/** Makes the folder of a socket file, for this user alone. Throws ERR_IPC_SYSTEM. */
export function prepareFolder(address: ResolvedAddress): void {
  if (address.path === undefined) return;
  const folder = dirname(address.path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const { code = 'UNKNOWN' } = error as NodeJS.ErrnoException;
    throw new SystemError('mkdir', code, `Making the folder ${folder} failed: ${code}`, { cause: error });
  }
}
