/** Plain framing inside one process: what the core makes of peers that know lengths and payloads only. */
import type { Channel, Connect, Frame, Lane, Listener } from '../../src/channel.ts';
import type { DisconnectReason } from '../../src/contract.ts';
import { IpcError, MessageTooLargeError, PeerGoneError } from '../../src/errors.ts';
import { KIND_REQUEST, KIND_RESPONSE } from '../../src/frame.ts';
import type { ClientContext, MakeConnect, MakeListener, ServerContext } from '../../src/transport.ts';

/** What may be on its way to a peer that does not read. */
const BACKLOG_BYTES = 64 * 1024;

interface Ending {
  readonly reason: DisconnectReason;
  readonly error: Error | undefined;
}

class PlainFrame implements Frame {
  readonly kind: number;
  readonly id = 0;
  readonly flags = 0;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly owned = true;
  #receiver: PlainChannel | undefined;

  constructor(kind: number, payload: Uint8Array, receiver: PlainChannel) {
    this.kind = kind;
    this.payload = new Uint8Array(payload);
    this.#receiver = receiver;
  }

  release(): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.onReleased(this.payload.length);
  }
}

class PlainChannel implements Channel {
  readonly framing = 'plain';
  readonly peer = undefined;
  readonly hello = undefined;
  readonly midFrame = false;
  readonly capacityBytes: number;
  onRoom: Channel['onRoom'];
  onClosed: Channel['onClosed'];
  other!: PlainChannel;
  readonly #kind: number;
  readonly #windowBytes: number;
  #onFrames: Channel['onFrames'];
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #heldBytes = 0;
  #wantsRoom = false;
  #scheduled = false;
  #closed = false;
  #ending: Ending | undefined;

  constructor(kind: number, windowBytes: number, maxMessageBytes: number) {
    this.#kind = kind;
    this.#windowBytes = windowBytes;
    this.capacityBytes = maxMessageBytes;
  }

  get onFrames(): Channel['onFrames'] {
    return this.#onFrames;
  }

  set onFrames(value: Channel['onFrames']) {
    this.#onFrames = value;
    this.#schedule();
  }

  trySend(lane: Lane, _kind: number, _id: number, _flags: number, payload: Uint8Array): boolean {
    if (this.#closed) return false;
    // Control has no form here: it is accepted and vanishes.
    if (lane === 'control') return true;
    if (this.other.#queuedBytes > BACKLOG_BYTES) {
      this.#wantsRoom = true;
      return false;
    }
    this.other.#queue.push(new Uint8Array(payload));
    this.other.#queuedBytes += payload.length;
    this.other.#schedule();
    return true;
  }

  onReleased(bytes: number): void {
    this.#heldBytes -= bytes;
    this.#schedule();
  }

  poll(): void {
    this.#deliver();
  }

  close(reason: DisconnectReason = 'closed'): Promise<void> {
    const orderly = reason === 'closed' || reason === 'shutdown';
    this.#end(reason, undefined, {
      reason: orderly ? 'closed' : 'gone',
      error: orderly ? undefined : new PeerGoneError('The other side broke off'),
    });
    return Promise.resolve();
  }

  ref(): void {}
  unref(): void {}

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    while (!this.#closed && this.#onFrames !== undefined && this.#heldBytes < this.#windowBytes) {
      const payload = this.#queue.shift();
      if (payload === undefined) break;
      this.#queuedBytes -= payload.length;
      if (payload.length > this.capacityBytes) {
        const error = new MessageTooLargeError(payload.length, this.capacityBytes, "this side's");
        this.#end('protocol', error, { reason: 'gone', error: new PeerGoneError('The other side broke off') });
        return;
      }
      this.#heldBytes += payload.length;
      this.#onFrames([new PlainFrame(this.#kind, payload, this)]);
    }
    this.other.#offerRoom();
    if (this.#ending !== undefined && this.#queue.length === 0) this.#end(this.#ending.reason, this.#ending.error);
  }

  #offerRoom(): void {
    if (!this.#wantsRoom || this.other.#queuedBytes > BACKLOG_BYTES) return;
    this.#wantsRoom = false;
    this.onRoom?.();
  }

  #end(reason: DisconnectReason, error: Error | undefined, ofOther?: Ending): void {
    if (this.#closed) return;
    this.#closed = true;
    if (ofOther !== undefined) {
      this.other.#ending = ofOther;
      this.other.#schedule();
    }
    this.onClosed?.(reason, error);
  }
}

class PlainListener implements Listener {
  admit: Listener['admit'];
  onChannel: Listener['onChannel'];
  onTakeover: Listener['onTakeover'];
  onError: Listener['onError'];
  readonly context: ServerContext;
  readonly #place: PlainPlace;

  constructor(context: ServerContext, place: PlainPlace) {
    this.context = context;
    this.#place = place;
  }

  listen(): Promise<void> {
    if (this.#place.listener !== undefined) {
      return Promise.reject(new IpcError('ERR_IPC_ADDRESS_IN_USE', 'Another server listens here'));
    }
    this.#place.listener = this;
    return Promise.resolve();
  }

  close(): Promise<void> {
    if (this.#place.listener === this) this.#place.listener = undefined;
    return Promise.resolve();
  }

  ref(): void {}
  unref(): void {}
}

/** One address of the transport. */
export class PlainPlace {
  listener: PlainListener | undefined;

  readonly makeListener: MakeListener = (context) => new PlainListener(context, this);
  readonly makeConnect: MakeConnect = (context) => this.#connect(context);

  #connect({ settings }: ClientContext): Connect {
    return async () => {
      await Promise.resolve();
      const { listener } = this;
      if (listener === undefined) throw new PeerGoneError('Nobody listens here');
      const refusal = listener.admit?.();
      if (refusal !== undefined) throw refusal;
      const server = listener.context.settings;
      const near = new PlainChannel(KIND_RESPONSE, settings.responseWindowBytes, settings.maxMessageBytes);
      const far = new PlainChannel(KIND_REQUEST, server.windowBytes, server.maxMessageBytes);
      near.other = far;
      far.other = near;
      listener.onChannel?.(far);
      return near;
    };
  }
}
