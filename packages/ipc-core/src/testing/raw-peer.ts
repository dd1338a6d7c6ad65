/** A client without the library's manners: it sends what frames a test likes, and releases what it got when the test likes. */
import type { Channel, Frame } from '../channel.ts';
import type { DisconnectReason } from '../contract.ts';
import { isControl, KIND_CANCEL, KIND_CREDIT, KIND_END, KIND_ERROR, KIND_RESPONSE } from '../frame.ts';
import { eventually, turn } from './eventually.ts';
import { textOf, u32 } from './payloads.ts';

const NO_BYTES: Uint8Array = new Uint8Array(0);

export interface RawFrame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

export class RawPeer {
  readonly channel: Channel;
  /** Copies of all frames that came. */
  readonly received: RawFrame[] = [];
  closed: { readonly reason: DisconnectReason; readonly error: Error | undefined } | undefined;
  readonly #held: Frame[] = [];
  #holding: boolean;

  /** `holding`: releases nothing until told so. */
  constructor(channel: Channel, holding: boolean) {
    this.channel = channel;
    this.#holding = holding;
    channel.onClosed = (reason, error) => {
      this.closed = { reason, error };
    };
  }

  /** Starts to take frames. */
  start(): this {
    this.channel.onFrames = (frames) => {
      for (const frame of frames) {
        const { kind, id, flags } = frame;
        this.received.push({ kind, id, flags, payload: new Uint8Array(frame.payload) });
        if (this.#holding) this.#held.push(frame);
        else frame.release();
      }
    };
    return this;
  }

  /** Releases all it holds, and from now on what comes. */
  letGo(): void {
    this.#holding = false;
    for (const frame of this.#held.splice(0)) frame.release();
  }

  /** False when there is no room. */
  trySend(kind: number, id: number, payload: Uint8Array = NO_BYTES, flags = 0): boolean {
    return this.channel.trySend(isControl(kind) ? 'control' : 'data', kind, id, flags, payload);
  }

  /** Sends, as soon as there is room; gives up when the channel is closed. */
  async send(kind: number, id: number, payload: Uint8Array = NO_BYTES, flags = 0): Promise<void> {
    while (!this.trySend(kind, id, payload, flags) && this.closed === undefined) await turn();
  }

  cancel(id: number): void {
    this.trySend(KIND_CANCEL, id);
  }

  credit(id: number, bytes: number): void {
    this.trySend(KIND_CREDIT, id, u32(bytes));
  }

  ofKind(kind: number, id?: number): RawFrame[] {
    return this.received.filter((frame) => frame.kind === kind && (id === undefined || frame.id === id));
  }

  /** The frames that end the request of `id`: there must never be two. */
  terminals(id: number): RawFrame[] {
    return this.received.filter(({ kind, id: its, flags }) => its === id && isTerminal(kind) && flags === 0);
  }

  /** The code in the error frame of `id`. */
  errorCode(id: number): unknown {
    const frame = this.ofKind(KIND_ERROR, id)[0];
    return frame === undefined ? undefined : (JSON.parse(textOf(frame.payload)) as { code?: unknown }).code;
  }

  async untilEnded(id: number): Promise<RawFrame> {
    await eventually(`a frame that ends request ${id}`, () => this.terminals(id).length > 0);
    return this.terminals(id)[0]!;
  }

  async untilClosed(): Promise<void> {
    await eventually('the server closes the connection', () => this.closed !== undefined);
  }
}

function isTerminal(kind: number): boolean {
  return kind === KIND_RESPONSE || kind === KIND_END || kind === KIND_ERROR;
}
