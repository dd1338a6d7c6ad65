/** What Spanwire's servers do in each workload, written as users would. */
import type { IpcRequest, IpcServer } from '@spanwire/ipc-core';
import { map, range } from 'rxjs';
import type { Workload } from '../workload.ts';
import { CANCEL_ME, SLOW, SYNC, TELL_ME } from './request-codes.ts';

/** How long a slow request takes. */
const SLOW_MS = 5;

export function attach(server: IpcServer, workload: Workload): void {
  switch (workload.kind) {
    case 'pipelined':
      if (workload.server === 'callback') respondFromCallback(server);
      else echo(server);
      break;
    case 'one-way':
      count(server);
      break;
    case 'large':
      readInPlace(server);
      break;
    case 'fairness':
      echoSometimesSlowly(server);
      break;
    case 'stream':
      streamItems(server, workload.items, workload.bytes, workload.source);
      break;
    case 'cancel':
      tellOfCancellations(server);
      break;
    case 'request':
    case 'burst':
    case 'open-loop':
    case 'clients':
    case 'idle':
    case 'memory':
      echo(server);
      break;
  }
}

function echo(server: IpcServer): void {
  server.requests$
    .pipe(map(({ clientId, requestId, span }) => ({ clientId, requestId, data: span })))
    .subscribe(server.responses);
}

/** The same without an operator and without the sink. */
function respondFromCallback(server: IpcServer): void {
  server.requests$.subscribe((request) => {
    request.respond(request.span);
  });
}

/** Requests ask how many one-way messages came before them. */
function count(server: IpcServer): void {
  let messages = 0;
  server.messages$.subscribe(() => {
    messages++;
  });
  server.respond(() => {
    const answer = Uint32Array.of(messages);
    messages = 0;
    return new Uint8Array(answer.buffer);
  });
}

/** Looks into each cache line, and answers with one byte of all that it saw. */
function readInPlace(server: IpcServer): void {
  server.requests$
    .pipe(
      map(({ clientId, requestId, span }) => {
        const words = new Int32Array(span.buffer, span.byteOffset, span.length >> 2);
        let all = 0;
        for (let i = 0; i < words.length; i += 16) all |= words[i] ?? 0;
        return { clientId, requestId, data: Uint8Array.of(all & 0xff) };
      }),
    )
    .subscribe(server.responses);
}

function echoSometimesSlowly(server: IpcServer): void {
  server.respond((_clientId, request) => {
    if (request[0] !== SLOW) return request;
    return new Promise((resolve) => {
      setTimeout(resolve, SLOW_MS, request.subarray(0, 1));
    });
  });
}

function streamItems(server: IpcServer, items: number, bytes: number, source: 'iterable' | 'observable'): void {
  const item = new Uint8Array(bytes).fill(1);
  async function* iterate(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < items; i++) yield item;
  }
  server.respond(() => (source === 'iterable' ? iterate() : range(items).pipe(map(() => item))));
}

/** A TELL_ME is answered when the CANCEL_ME before it is cancelled. */
function tellOfCancellations(server: IpcServer): void {
  let cancelled: Promise<void> | undefined;
  const untilCancelled = ({ signal }: IpcRequest): Promise<void> =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  server.respond((_clientId, span, request) => {
    switch (span[0]) {
      case CANCEL_ME:
        cancelled = untilCancelled(request);
        return cancelled.then(() => undefined);
      case TELL_ME:
        return cancelled?.then(() => Uint8Array.of(TELL_ME));
      default:
        return Uint8Array.of(SYNC);
    }
  });
}
