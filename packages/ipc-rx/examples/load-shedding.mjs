// @ts-check
// A server that can do 4 things at once, lets 8 more wait, and tells everybody else at once that it is busy. Clients try again, later and later.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IpcError } from '@spanwire/ipc-core';
import { createMeter, handle, limitInFlight, meter, shedLoad } from '@spanwire/ipc-rx';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import { defer, firstValueFrom, retry, throwError, timer } from 'rxjs';
import { setTimeout } from 'node:timers/promises';

const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
const address = `unix:${folder}/s`;

const server = createSocketServer(address);
const served = createMeter();
let most = 0;
let running = 0;
server.requests$
  .pipe(
    shedLoad({ when: ({ inFlight }) => inFlight >= 12 }),
    meter(served),
    limitInFlight(4, { per: 'server' }),
    handle(async (_clientId, request) => {
      most = Math.max(most, ++running);
      await setTimeout(5); // what takes a while
      running--;
      return request;
    }),
  )
  .subscribe(server.responses);
await server.listen();

const client = createSocketClient(address);
await client.connect();
let busy = 0;
const ask = (/** @type {number} */ number) =>
  firstValueFrom(
    defer(() => client.request(Uint8Array.of(number))).pipe(
      retry({
        delay: (error, count) => {
          if (!(error instanceof IpcError && error.code === 'ERR_IPC_OVERLOADED')) return throwError(() => error);
          busy++;
          return timer(Math.random() * 10 * 2 ** count);
        },
      }),
    ),
  );
const replies = await Promise.all(Array.from({ length: 60 }, (_, i) => ask(i)));
const { requests, inFlight, latencyNs } = served.snapshot();
console.log(
  JSON.stringify({ replies: replies.length, busy, most, served: requests, inFlight, p99Ms: latencyNs.p99 / 1e6 }),
);
await client.close();
await server.close();
await rm(folder, { recursive: true, force: true });
