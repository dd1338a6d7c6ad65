/** A request seen through an operator: the same request, with something of it replaced. */
import {
  originOf,
  type Bytes,
  type IpcRequest,
  type ItemStream,
  type RequestOrigin,
  type ResponseClaim,
} from '@spanwire/ipc-core';

/** Own fields are the ids, as of every request, so that spreading one into its answer works. */
export class RequestView implements IpcRequest {
  readonly clientId: number;
  readonly requestId: number;
  readonly #request: IpcRequest;

  constructor(request: IpcRequest) {
    this.clientId = request.clientId;
    this.requestId = request.requestId;
    this.#request = request;
  }

  get span(): Bytes {
    return this.#request.span;
  }

  release(): void {
    this.#request.release();
  }

  respond(data: Uint8Array): boolean {
    return this.#request.respond(data);
  }

  claim(payloadBytes: number): ResponseClaim | undefined {
    return this.#request.claim(payloadBytes);
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  get metadata(): ReadonlyMap<string, string> | undefined {
    return this.#request.metadata;
  }

  get deadlineMs(): number | undefined {
    return this.#request.deadlineMs;
  }

  get input$(): ItemStream | undefined {
    return this.#request.input$;
  }

  get origin(): RequestOrigin | undefined {
    return originOf(this.#request);
  }
}
