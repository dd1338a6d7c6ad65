// @ts-check
// A ticker for everybody who is there: the server broadcasts, clients subscribe. One client does not read: it loses what does not fit its window, and
// nobody waits for it.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from '@spanwire/ipc-rx';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import { filter, firstValueFrom, interval, lastValueFrom, map, scan, take, toArray } from 'rxjs';

const TICKS = 500;
const READERS = 5;
const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
const address = `unix:${folder}/s`;

const server = createSocketServer(address);
await server.listen();

const readers = Array.from({ length: READERS }, () => createSocketClient(address));
// Its queue of pushes takes 8 KiB, and it takes nothing out of it.
const idler = createSocketClient(address, { windowBytes: 8 * 1024 });
const everybody = firstValueFrom(
  server.clients$.pipe(
    scan((count, { type }) => count + (type === 'connected' ? 1 : -1), 0),
    filter((count) => count === READERS + 1),
  ),
);
await Promise.all([...readers, idler].map((client) => client.connect()));
await everybody;

const received = readers.map((client) =>
  lastValueFrom(client.messages$.pipe(map(json.decode), take(TICKS), toArray())),
);
const price$ = interval(0).pipe(
  take(TICKS),
  map((tick) => ({ tick, price: 100 + Math.sin(tick / 10) })),
);
const reached = await lastValueFrom(
  price$.pipe(
    map((price) => server.broadcast(json.encode(price))),
    toArray(),
  ),
);
const ticks = await Promise.all(received);
console.log(
  JSON.stringify({
    readers: ticks.map((each) => each.length),
    inOrder: ticks.every((each) => each.every((price, i) => /** @type {{ tick: number }} */ (price).tick === i)),
    reachedAtLeast: Math.min(...reached),
    idlerDropped: idler.stats.droppedPushes,
  }),
);
await Promise.all([...readers, idler].map((client) => client.close()));
await server.close();
await rm(folder, { recursive: true, force: true });
