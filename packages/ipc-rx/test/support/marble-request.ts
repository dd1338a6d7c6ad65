import type { Bytes, IpcError, IpcRequest, Outcome, RequestOrigin } from '@spanwire/ipc-core';
import { SpanReleasedError } from '@spanwire/ipc-core';

/** The clients of one marble test. */
export class MarbleClients {
  readonly #signals = new Map<number, AbortController>();
  readonly shutdowns: unknown[] = [];

  signalOf(clientId: number): AbortController {
    let signal = this.#signals.get(clientId);
    if (signal === undefined) this.#signals.set(clientId, (signal = new AbortController()));
    return signal;
  }

  /** A request `a1` is request 1 of client 10 (hexadecimal). */
  request(name: string, bytes: Bytes = new Uint8Array(0)): MarbleRequest {
    return new MarbleRequest(this, Number.parseInt(name.charAt(0), 16), Number(name.slice(1)), bytes);
  }

  /** Requests by the names that a marble diagram gives them. */
  requests<K extends string>(names: Record<K, string>): Record<K, MarbleRequest> {
    const entries = Object.entries<string>(names).map(([key, name]) => [key, this.request(name)]);
    return Object.fromEntries(entries);
  }
}

/** What a server delivers, for tests in virtual time, where no server runs: only what happens to it is recorded. */
export class MarbleRequest implements IpcRequest, RequestOrigin {
  readonly clientId: number;
  readonly requestId: number;
  readonly metadata = undefined;
  readonly deadlineMs = undefined;
  readonly input$ = undefined;
  released = false;
  ended = false;
  failure: IpcError | undefined;
  outcome: Outcome | undefined;
  readonly #clients: MarbleClients;
  readonly #bytes: Bytes;
  readonly #controller = new AbortController();
  #onDone: Array<(request: IpcRequest) => void> | undefined = [];

  constructor(clients: MarbleClients, clientId: number, requestId: number, bytes: Bytes) {
    this.clientId = clientId;
    this.requestId = requestId;
    this.#clients = clients;
    this.#bytes = bytes;
  }

  get origin(): RequestOrigin {
    return this;
  }

  get span(): Bytes {
    if (this.released) throw new SpanReleasedError();
    return this.#bytes;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get clientSignal(): AbortSignal {
    return this.#clients.signalOf(this.clientId).signal;
  }

  get server(): RequestOrigin['server'] {
    return { requestShutdown: (options) => this.#clients.shutdowns.push(options) };
  }

  release(): void {
    this.released = true;
  }

  respond(data: Uint8Array): boolean {
    return this.answer({ data });
  }

  /** Never any room. */
  claim(): undefined {
    return undefined;
  }

  answer(outcome: Outcome): boolean {
    if (this.ended) return false;
    this.outcome = outcome;
    this.ended = true;
    this.released = true;
    this.#done();
    return true;
  }

  fail(error: IpcError): boolean {
    if (this.ended) return false;
    this.failure = error;
    this.ended = true;
    this.#controller.abort(error);
    return true;
  }

  whenDone(onDone: (request: IpcRequest) => void): void {
    if (this.#onDone === undefined) onDone(this);
    else this.#onDone.push(onDone);
  }

  #done(): void {
    const waiting = this.#onDone ?? [];
    this.#onDone = undefined;
    for (const onDone of waiting) onDone(this);
  }
}
