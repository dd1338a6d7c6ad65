/** One capnweb session on one channel, with what this package adds to it. */
import {
  IpcError,
  ProtocolError,
  type Channel,
  type DisconnectReason,
  type Overflow,
  type ReassemblyBudget,
} from '@spanwire/ipc-core';
import { RpcSession, RpcTarget, type RpcStub } from 'capnweb';
import { overloaded, SlowSubscriberError, tooLarge, type ErrorWire } from './error-wire.ts';
import { exposeShared, type ExposeScope } from './expose.ts';
import { MessageLink, type LinkEnd } from './message-link.ts';
import { FAIL_METHOD } from './message-outbox.ts';
import { OutgoingStream } from './outgoing-stream.ts';
import { RemoteObservable } from './remote-observable.ts';
import { RunningCalls } from './running-calls.ts';
import { decodeTag, encodeTag, replaceTagged, type TaggedNode } from './tags.ts';

/** What both sides say in their hello: nobody else's messages are taken for a session's. */
export const SESSION_HELLO: Uint8Array<ArrayBuffer> = new TextEncoder().encode('spanwire process 1');

export interface SessionSettings {
  readonly maxMessageBytes: number;
  readonly maxQueuedBytes: number;
  readonly graceMs: number;
  readonly overflow: Overflow;
  readonly budget: ReassemblyBudget;
  readonly errors: ErrorWire;
  readonly warn: (message: string, error: unknown) => void;
}

/** Opens a second channel for the same peer at `address`, on behalf of the peer. */
export type ListenBeside = (address: string) => Promise<void>;

export class Session {
  readonly #link: MessageLink;
  readonly #running = new RunningCalls();
  readonly #main: RpcStub<Main>;

  /** Throws ProtocolError, and closes the channel, when the peer is no session. `init` is what the peer gets from here, if anything. */
  constructor(channel: Channel, settings: SessionSettings, init: RpcTarget | undefined, listenBeside?: ListenBeside) {
    if (!isSession(channel)) {
      void channel.close('protocol');
      throw new ProtocolError('Expected a peer that speaks the protocol of @spanwire/ipc-process, got another one');
    }
    const { errors, warn, overflow } = settings;
    const scope: ExposeScope = {
      overflow,
      began: () => this.#running.began(),
      disposeFailed: (error) => warn('Disposing an object for another process failed', error),
    };
    const main = new Main(init === undefined ? undefined : exposeShared(init, scope), listenBeside);
    const link: MessageLink = new MessageLink(channel, {
      ...settings,
      restore: (message) => replaceTagged(message, (node) => restoreNode(node, errors, link)),
    });
    this.#link = link;
    const onSendError = (error: Error): Error => {
      link.tagged = true;
      return standInOf(error, errors) as unknown as Error;
    };
    this.#main = new RpcSession<Main>(link, main, { onSendError }).getRemoteMain();
  }

  /** Resolves when the channel is closed; never rejects. */
  get ended(): Promise<LinkEnd> {
    return this.#link.ended;
  }

  /** The main object of the peer's user. */
  async remoteInit(): Promise<RpcStub<RpcTarget>> {
    return await this.#main.init();
  }

  /** Asks the peer to take a second channel at `address`. */
  async listenBeside(address: string): Promise<void> {
    await this.#main.listen(address);
  }

  /** Resolves when no call of the peer runs. */
  drained(): Promise<void> {
    return this.#running.drained();
  }

  /** Fails calls in flight, flushes, closes the channel. */
  close(): Promise<void> {
    return this.#link.close();
  }
}

/** The main object of a session: what a peer finds before it knows anything. */
class Main extends RpcTarget {
  readonly #init: RpcTarget | undefined;
  readonly #listenBeside: ListenBeside | undefined;

  constructor(init: RpcTarget | undefined, listenBeside: ListenBeside | undefined) {
    super();
    this.#init = init;
    this.#listenBeside = listenBeside;
  }

  init(): RpcTarget {
    if (this.#init === undefined) {
      throw new IpcError('ERR_IPC_UNSUPPORTED', 'This process serves nothing: it has no `init`');
    }
    return this.#init;
  }

  /** What a call becomes whose own message the caller kept back. */
  [FAIL_METHOD](tag: Uint8Array): never {
    throw new ReflectedFailure(tag);
  }

  async listen(address: string): Promise<void> {
    if (this.#listenBeside === undefined) {
      throw new IpcError('ERR_IPC_UNSUPPORTED', 'Only a process that was spawned takes a second channel');
    }
    await this.#listenBeside(address);
  }
}

/** Goes back to the caller as the tag it sent. */
class ReflectedFailure extends Error {
  readonly tag: Uint8Array;

  constructor(tag: Uint8Array) {
    super('A message was kept back');
    this.tag = tag;
  }
}

/** Whether serving ended as it should: the peer said goodbye, or this side did. */
export function isOrderly(reason: DisconnectReason): boolean {
  return reason === 'closed' || reason === 'shutdown';
}

function isSession(channel: Channel): boolean {
  const application = channel.hello?.application;
  return application !== undefined && Buffer.from(SESSION_HELLO).equals(application);
}

function standInOf(error: Error, errors: ErrorWire): object {
  if (error instanceof OutgoingStream) return named(encodeTag(['stream']), { remote: error.source() });
  if (error instanceof ReflectedFailure) return named(error.tag, {});
  if (error instanceof SlowSubscriberError) return named(encodeTag(['slow-subscriber', error.maxItems]), {});
  return errors.standIn(error);
}

function named(tag: Uint8Array, properties: object): object {
  return Object.defineProperties({ ...properties }, { name: { value: tag }, message: { value: '' } });
}

function restoreNode(node: TaggedNode, errors: ErrorWire, link: MessageLink): unknown {
  const [, bytes, message, , properties = {}] = node;
  const tag = decodeTag(bytes);
  switch (tag?.[0]) {
    case 'stream':
      return new RemoteObservable((properties as { remote?: unknown }).remote, link);
    case 'declared':
    case 'other':
      return errors.restore(tag, message, properties);
    case 'too-large':
      return tooLarge(tag);
    case 'overloaded':
      return overloaded();
    case 'slow-subscriber':
      return new SlowSubscriberError(tag[1]);
    default:
      throw new ProtocolError('Expected a tag that this version knows, got another one');
  }
}
