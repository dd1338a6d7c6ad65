// @ts-check
// A server that serves each client at most 100 requests a second. What is over that waits unreleased, so the client itself slows down; others notice nothing.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handle, perClient, requestEach } from '@spanwire/ipc-rx';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import { concatMap, lastValueFrom, map, mergeMap, range, timer, toArray } from 'rxjs';

const PER_SECOND = 100;
const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
const address = `unix:${folder}/s`;

/** Passes one value after the other, at most so many a second. @template T @param {number} perSecond @returns {import('rxjs').MonoTypeOperatorFunction<T>} */
const atMost = (perSecond) => (source) => {
  let nextMs = 0;
  return source.pipe(
    concatMap((value) => {
      const nowMs = performance.now();
      nextMs = Math.max(nextMs + 1000 / perSecond, nowMs);
      return timer(nextMs - nowMs).pipe(map(() => value));
    }),
  );
};

const server = createSocketServer(address);
server.requests$
  .pipe(
    perClient(),
    mergeMap((client$) => client$.pipe(atMost(PER_SECOND))),
    handle((_clientId, request) => request),
  )
  .subscribe(server.responses);
await server.listen();

const greedy = createSocketClient(address);
const modest = createSocketClient(address);
await Promise.all([greedy.connect(), modest.connect()]);

const startMs = performance.now();
/** @type {string[]} */
const finished = [];
const flood = lastValueFrom(
  range(0, 50).pipe(
    map((i) => Uint8Array.of(i)),
    requestEach(greedy, { concurrency: 50 }),
    toArray(),
  ),
).then((replies) => {
  finished.push('greedy');
  return replies;
});
await modest.request(Uint8Array.of(1));
finished.push('modest');
const replies = await flood;
console.log(JSON.stringify({ served: replies.length, ms: Math.round(performance.now() - startMs), finished }));
await greedy.close();
await modest.close();
await server.close();
await rm(folder, { recursive: true, force: true });
