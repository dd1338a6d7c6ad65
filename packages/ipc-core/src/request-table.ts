/**
 * Open requests by request id. Ids count up, so the low bits index a table; what finds its place taken by a request that is open for
 * long goes into a map.
 */
import type { ServerRequest } from './server-request.ts';

const SLOTS = 4096;

export class RequestTable {
  readonly #slots: Array<ServerRequest | undefined> = Array.from({ length: SLOTS }, () => undefined);
  readonly #overflow = new Map<number, ServerRequest>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(requestId: number): ServerRequest | undefined {
    const found = this.#slots[requestId & (SLOTS - 1)];
    if (found !== undefined && found.requestId === requestId) return found;
    return this.#overflow.size === 0 ? undefined : this.#overflow.get(requestId);
  }

  /** The open requests of one client. For the rare case: it looks at all. */
  ofClient(clientId: number): ServerRequest[] {
    const found: ServerRequest[] = [];
    if (this.#size === 0) return found;
    for (const request of this.#slots) if (request?.clientId === clientId) found.push(request);
    for (const request of this.#overflow.values()) if (request.clientId === clientId) found.push(request);
    return found;
  }

  add(request: ServerRequest): void {
    const slot = request.requestId & (SLOTS - 1);
    this.#size++;
    if (this.#slots[slot] === undefined) this.#slots[slot] = request;
    else this.#overflow.set(request.requestId, request);
  }

  delete(request: ServerRequest): void {
    const slot = request.requestId & (SLOTS - 1);
    this.#size--;
    if (this.#slots[slot] === request) this.#slots[slot] = undefined;
    else this.#overflow.delete(request.requestId);
  }
}
