// @ts-check
// A calculator with a session per client: each has a running total, which starts with its first request and ends when it leaves.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode, json, perClient, typed } from '@spanwire/ipc-rx';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import { filter, finalize, firstValueFrom, map, mergeMap, scan } from 'rxjs';

const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
const address = `unix:${folder}/s`;

/** @type {import('@spanwire/ipc-rx').Codec<number>} */
const numbers = typed(json);

const server = createSocketServer(address);
/** @type {Record<number, number>} */
const totals = {};
/** @type {number[]} */
const ended = [];
server.requests$
  .pipe(
    decode(numbers),
    perClient(),
    mergeMap((client$) =>
      client$.pipe(
        scan((session, { requestId, value }) => ({ requestId, total: session.total + value }), {
          requestId: 0,
          total: 0,
        }),
        map(({ requestId, total }) => ({ clientId: client$.key, requestId, value: (totals[client$.key] = total) })),
        finalize(() => ended.push(client$.key)),
      ),
    ),
    encode(numbers),
  )
  .subscribe(server.responses);
await server.listen();

/** @param {import('@spanwire/ipc-core').IpcClient} client @param {number} number */
const add = async (client, number) => numbers.decode(await client.request(numbers.encode(number)));

const [ann, ben] = [createSocketClient(address), createSocketClient(address)];
await ann.connect();
await ben.connect();
const answers = [await add(ann, 1), await add(ben, 10), await add(ann, 2), await add(ben, 20), await add(ann, 3)];
const annLeft = firstValueFrom(server.clients$.pipe(filter(({ type }) => type === 'disconnected')));
await ann.close();
await annLeft;
console.log(JSON.stringify({ answers, totals, ended, afterwards: await add(ben, 30) }));
await ben.close();
await server.close();
await rm(folder, { recursive: true, force: true });
