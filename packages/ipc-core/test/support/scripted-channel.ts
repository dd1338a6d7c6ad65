/** A channel whose other side is the test: it says what arrives, when there is room, and how it ends. */
import type { Channel, Frame, Lane } from '../../src/channel.ts';
import type { DisconnectReason } from '../../src/contract.ts';
import type { PeerHello } from '../../src/hello.ts';
import { PROTOCOL_VERSION } from '../../src/hello.ts';

export interface SentFrame {
  readonly lane: Lane;
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

export class ScriptedFrame implements Frame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly owned = false;
  releases = 0;

  constructor(kind: number, id: number, payload: Uint8Array = new Uint8Array(0), flags = 0) {
    this.kind = kind;
    this.id = id;
    this.flags = flags;
    this.payload = new Uint8Array(payload);
  }

  release(): void {
    this.releases++;
  }
}

export interface ScriptedOptions {
  readonly framing?: 'spanwire' | 'plain' | undefined;
  readonly hello?: Partial<PeerHello> | undefined;
  readonly capacityBytes?: number | undefined;
}

export class ScriptedChannel implements Channel {
  readonly framing: 'spanwire' | 'plain';
  readonly peer = undefined;
  readonly hello: PeerHello | undefined;
  readonly capacityBytes: number;
  onRoom: Channel['onRoom'];
  onFrames: Channel['onFrames'];
  onClosed: Channel['onClosed'];
  takeRequest: Channel['takeRequest'] = undefined;
  midFrame = false;
  receivedBytes: number | undefined = undefined;
  /** All that was sent. */
  readonly sent: SentFrame[] = [];
  /** How many more data frames find room. */
  room = Number.POSITIVE_INFINITY;
  closedWith: DisconnectReason | undefined;
  referenced = true;
  #refused = false;

  constructor({ framing = 'spanwire', hello, capacityBytes = 1 << 20 }: ScriptedOptions = {}) {
    this.framing = framing;
    this.capacityBytes = capacityBytes;
    this.hello =
      framing === 'plain'
        ? undefined
        : {
            version: PROTOCOL_VERSION,
            windowBytes: 1 << 20,
            streamWindowBytes: 1 << 18,
            maxMessageBytes: 1 << 26,
            pushes: true,
            streams: true,
            ...hello,
          };
  }

  trySend(lane: Lane, kind: number, id: number, flags: number, payload: Uint8Array): boolean {
    if (this.closedWith !== undefined) return false;
    if (lane === 'data') {
      if (payload.byteLength > this.capacityBytes) throw new RangeError('Expected a payload inside the capacity');
      if (this.room <= 0) {
        this.#refused = true;
        return false;
      }
      this.room--;
    }
    this.sent.push({ lane, kind, id, flags, payload: new Uint8Array(payload) });
    return true;
  }

  /** Says that there is room for `frames` more, as a channel does after a refusal. */
  makeRoom(frames: number = Number.POSITIVE_INFINITY): void {
    this.room = frames;
    if (!this.#refused) return;
    this.#refused = false;
    this.onRoom?.();
  }

  /** Frames arrive, in one batch. */
  deliver(...frames: ScriptedFrame[]): void {
    this.onFrames?.(frames);
  }

  /** The other side ends the connection. */
  breakOff(reason: DisconnectReason = 'gone', error?: Error): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = reason;
    this.onClosed?.(reason, error);
  }

  close(reason: DisconnectReason = 'closed'): Promise<void> {
    if (this.closedWith === undefined) {
      this.closedWith = reason;
      this.onClosed?.(reason);
    }
    return Promise.resolve();
  }

  ref(): void {
    this.referenced = true;
  }

  unref(): void {
    this.referenced = false;
  }

  ofKind(kind: number, id?: number): SentFrame[] {
    return this.sent.filter((frame) => frame.kind === kind && (id === undefined || frame.id === id));
  }
}
