/**
 * The checksum server, a process of its own: `node server.js ADDRESS`. Each client sends a file piece by piece, then an empty
 * request; that one is answered with the SHA-256 of the pieces, the others with nothing but an acknowledgement.
 */
import { createHash } from 'node:crypto';
import type { IpcRequest, IpcResponse } from '@spanwire/ipc-core';
import { perClient, untilShutdown } from '@spanwire/ipc-rx';
import { defer, fromEvent, map, mergeMap, type Observable } from 'rxjs';
import { createServer } from './transport.ts';

const TAKEN = new Uint8Array(0);

const [address = ''] = process.argv.slice(2);
// Whoever started this process holds the other end of its standard input, and lets go of it when it ends, however it ends.
const left$ = fromEvent(process.stdin.resume(), 'end');

const server = createServer(address);
server.requests$
  .pipe(
    untilShutdown(left$),
    perClient(),
    mergeMap((client$) => checksums(client$)),
  )
  .subscribe(server.responses);

await server.listen();
console.log('listening');
await server.closed;

/** Every subscriber has a hash of its own, so each client has. */
function checksums(requests$: Observable<IpcRequest>): Observable<IpcResponse> {
  return defer(() => {
    let hash = createHash('sha256');
    return requests$.pipe(
      map(({ clientId, requestId, span }) => {
        if (span.byteLength > 0) {
          hash.update(span);
          return { clientId, requestId, data: TAKEN };
        }
        const data = hash.digest();
        hash = createHash('sha256');
        return { clientId, requestId, data };
      }),
    );
  });
}
