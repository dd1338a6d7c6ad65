/** What a client waits for: a class per form of answer. A call is also what waits in the data lane until it is sent. */
import type { Observable } from 'rxjs';
import { onceAborted } from './abort-listeners.ts';
import { copyOf } from './bytes.ts';
import type { Frame } from './channel.ts';
import type { Connection } from './connection.ts';
import type { Bytes, CallOptions, IpcReply } from './contract.ts';
import type { LaneEntry } from './data-lane.ts';
import { IpcError, RemoteError, SpanReleasedError, TimeoutError } from './errors.ts';
import { encodeExtension } from './extension.ts';
import { KIND_DUPLEX_REQUEST, KIND_ONE_WAY, KIND_REQUEST, KIND_STREAM_REQUEST } from './frame.ts';
import { takeOwned } from './message.ts';
import { secondRequest, type Requester } from './requester.ts';
import { StreamReceiver } from './stream-receiver.ts';
import { handOutReply, stackOfReceiver } from './watched-spans.ts';
import type { StreamSender } from './stream-sender.ts';

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Who a call belongs to. */
export interface CallOwner {
  /** The call is over: it answered, failed, or was given up. Once. */
  onSettled(call: Call): void;
}

/** Who makes calls and sends them. */
export interface CallSender extends CallOwner {
  /** Sends a call by the usual path. */
  submit(call: Call, options: CallOptions | undefined): void;
  /** Sends a request without options at once. False, and nothing has happened: it has to be submitted. */
  trySubmit(call: Call): boolean;
}

/**
 * A call for one answer, as an owned copy: that of `request`. The other forms of answer are below. One class, because millions are made: a derived
 * one is made twice as slowly. (`private` and not `#private` for the same reason.)
 */
export class Call implements LaneEntry {
  readonly owner: CallOwner;
  /** The wire id, while the call has one. */
  id: number;
  payload: Uint8Array;
  /** Where it was sent, or waits. */
  connection: Connection | undefined;
  settled: boolean;
  /** What few calls have, made when it is needed. */
  private limits: Limits | undefined;
  private readonly resolve: (data: Bytes) => void;
  protected readonly reject: (error: unknown) => void;

  constructor(owner: CallOwner, payload: Uint8Array, resolve: (data: Bytes) => void, reject: (error: unknown) => void) {
    this.owner = owner;
    this.id = -1;
    this.payload = payload;
    this.connection = undefined;
    this.settled = false;
    this.limits = undefined;
    this.resolve = resolve;
    this.reject = reject;
  }

  get kind(): number {
    return KIND_REQUEST;
  }

  get options(): CallOptions | undefined {
    return this.limits?.options;
  }

  /** Heeds timeout and signal from now on. Not needed without options. */
  arm(options: CallOptions): void {
    const { timeoutMs, signal, metadata } = options;
    // Throws on metadata that cannot be sent, while the caller is there to be told.
    if (metadata !== undefined) encodeExtension({ deadlineMs: 0, metadata });
    const limits: Limits = { options, deadlineAt: undefined, timer: undefined, stopListening: undefined };
    this.limits = limits;
    if (timeoutMs !== undefined) {
      limits.deadlineAt = performance.now() + timeoutMs;
      const giveUp = (): void =>
        this.giveUp(new TimeoutError(`Expected an answer within ${timeoutMs} ms, got none`, timeoutMs));
      limits.timer = setTimeout(giveUp, timeoutMs);
    }
    if (signal !== undefined) {
      limits.stopListening = onceAborted(signal, (reason) => this.giveUp(reason));
    }
  }

  // ---- as an entry of the lane ----

  get extension(): Uint8Array | undefined {
    const limits = this.limits;
    // Plain framing has none: there a timeout is the client's own.
    if (limits === undefined || this.connection?.plain === true) return undefined;
    const { deadlineAt } = limits;
    const { metadata } = limits.options;
    if (metadata === undefined && deadlineAt === undefined) return undefined;
    const deadlineMs = deadlineAt === undefined ? undefined : Math.max(0, deadlineAt - performance.now());
    return encodeExtension({ deadlineMs, metadata });
  }

  begin(): boolean {
    return !this.settled && this.connection !== undefined && this.connection.begin(this);
  }

  sent(): void {
    // What waited as a copy is not needed again: it is never sent twice.
    this.payload = NO_BYTES;
  }

  /** It has to wait: the caller may reuse its bytes meanwhile. */
  keepPayload(): void {
    if (this.payload.length > 0) this.payload = copyOf(this.payload);
  }

  // ---- what comes back; `true` when that was the last ----

  /** Whether an answer must come as a frame. */
  get takesFrame(): boolean {
    return false;
  }

  onAnswer(data: Bytes): void {
    if (this.settle()) this.resolve(data);
  }

  onResponse(frame: Frame): void {
    this.onAnswer(takeOwned(frame));
  }

  onItem(frame: Frame): void {
    frame.release();
  }

  onEnd(): void {
    this.fail(noAnswer());
  }

  /** Fails the call; the server knows already, or will never. */
  fail(error: unknown): void {
    if (this.settle()) this.reject(error);
  }

  /** The caller does not want it any more: the server is told. */
  giveUp(reason: unknown): void {
    if (this.settled) return;
    this.connection?.cancel(this);
    this.fail(reason);
  }

  /** Makes it a new call. Only after it was settled: nobody knows it then. */
  protected renew(payload: Uint8Array): void {
    this.id = -1;
    this.payload = payload;
    this.connection = undefined;
    this.settled = false;
    this.limits = undefined;
  }

  /** True the first time. */
  protected settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    const limits = this.limits;
    if (limits !== undefined) {
      clearTimeout(limits.timer);
      limits.stopListening?.();
    }
    this.owner.onSettled(this);
    return true;
  }
}

interface Limits {
  readonly options: CallOptions;
  deadlineAt: number | undefined;
  timer: NodeJS.Timeout | undefined;
  stopListening: (() => void) | undefined;
}

function noAnswer(): RemoteError {
  return new RemoteError({ name: 'Error', message: 'The handler gave no answer', code: undefined });
}

/** As {@link Call}, again and again. */
export class RepeatedCall extends Call implements Requester {
  readonly #sender: CallSender;

  constructor(sender: CallSender, resolve: (data: Bytes) => void, reject: (error: unknown) => void) {
    super(sender, NO_BYTES, resolve, reject);
    this.#sender = sender;
    this.settled = true;
  }

  request(data: Uint8Array, options?: CallOptions): void {
    if (!this.settled) throw secondRequest();
    this.renew(data);
    if (options !== undefined || !this.#sender.trySubmit(this)) this.#sender.submit(this, options);
  }
}

/** As {@link Call}, of bytes that nobody reuses. */
export class OwnedCall extends Call {
  override keepPayload(): void {}
}

/** `exchange`: a borrowed reply. */
export class ExchangeCall extends Call {
  readonly #resolve: (reply: IpcReply) => void;
  /** Where `exchange` was called, while spans are watched. */
  readonly #stack: string | undefined = stackOfReceiver();

  constructor(
    owner: CallOwner,
    payload: Uint8Array,
    resolve: (reply: IpcReply) => void,
    reject: (error: unknown) => void,
  ) {
    super(owner, payload, ignore, reject);
    this.#resolve = resolve;
  }

  override get takesFrame(): boolean {
    return true;
  }

  override onResponse(frame: Frame): void {
    const connection = this.connection;
    if (!this.settle()) {
      frame.release();
      return;
    }
    this.#resolve(handOutReply(new Reply(frame, connection), this.#stack));
  }
}

/** A borrowed reply. Once half of the response window is held by such, the next ones are copies. */
class Reply implements IpcReply {
  #frame: Frame | undefined;
  #copy: Bytes | undefined;
  readonly #connection: Connection | undefined;
  readonly #bytes: number;

  constructor(frame: Frame, connection: Connection | undefined) {
    this.#connection = connection;
    this.#bytes = frame.payload.length;
    if (connection?.hold(this.#bytes) === true) this.#frame = frame;
    else this.#copy = takeOwned(frame);
  }

  get span(): Bytes {
    const frame = this.#frame;
    if (frame !== undefined && this.#connection?.gone !== true) return frame.payload;
    if (this.#copy === undefined) throw new SpanReleasedError();
    return this.#copy;
  }

  release(): void {
    const frame = this.#frame;
    this.#frame = undefined;
    this.#copy = undefined;
    if (frame === undefined) return;
    this.#connection?.letGo(this.#bytes);
    frame.release();
  }
}

/** `request$` and `duplex$`: items, which `receiver` takes from the start on. */
export class StreamCall extends Call {
  readonly receiver: StreamReceiver;
  /** What the client streams up, for duplex calls. */
  readonly input$: Observable<Uint8Array> | undefined;
  sender: StreamSender | undefined;

  constructor(
    owner: CallOwner,
    payload: Uint8Array,
    input$: Observable<Uint8Array> | undefined,
    streamWindowBytes: number,
  ) {
    super(owner, payload, ignore, (error) => {
      this.stopInput();
      this.receiver.fail(error);
    });
    this.input$ = input$;
    this.receiver = new StreamReceiver(
      streamWindowBytes,
      (bytes) => this.connection?.giveCredit(this.id, bytes),
      () => this.giveUp(new IpcError('ERR_IPC_CANCELLED', 'The stream was unsubscribed')),
    );
  }

  override get kind(): number {
    return this.input$ === undefined ? KIND_STREAM_REQUEST : KIND_DUPLEX_REQUEST;
  }

  override onAnswer(data: Bytes): void {
    if (!this.settle()) return;
    this.stopInput();
    this.receiver.push(data);
    this.receiver.end();
  }

  override sent(): void {
    super.sent();
    this.connection?.startStreams(this);
  }

  override onItem(frame: Frame): void {
    this.receiver.push(takeOwned(frame));
  }

  override onEnd(): void {
    if (!this.settle()) return;
    this.stopInput();
    this.receiver.end();
  }

  /** Unsubscribes what the client streams up. As {@link StreamSender.stop}. */
  stopInput(terminal?: LaneEntry): void {
    const { sender } = this;
    this.sender = undefined;
    sender?.stop(terminal);
  }
}

/** `send`: over as soon as it is out. */
export class OneWayCall extends Call {
  readonly #resolve: () => void;

  constructor(owner: CallOwner, payload: Uint8Array, resolve: () => void, reject: (error: unknown) => void) {
    super(owner, payload, ignore, reject);
    this.#resolve = resolve;
  }

  override get kind(): number {
    return KIND_ONE_WAY;
  }

  override sent(): void {
    if (this.settle()) this.#resolve();
  }

  override onEnd(): void {}
}

function ignore(): void {}
