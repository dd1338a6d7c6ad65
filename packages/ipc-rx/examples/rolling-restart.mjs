// @ts-check
// A server is replaced by the next one three times, under load. The old one finishes what runs and refuses what it never started; clients send exactly
// those again. Nothing is lost, and nothing runs twice.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { handle, requestEach, resendRefused } from '@spanwire/ipc-rx';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import { filter, firstValueFrom, from, lastValueFrom, map, skip, Subject, tap } from 'rxjs';

const [role, address = ''] = process.argv.slice(2);

if (role === 'server') {
  // Eight of each client at a time; what is over waits, and has not started.
  const server = createSocketServer(address, { maxInFlight: 8 });
  /** @type {string[]} */
  const ran = [];
  server.requests$
    .pipe(
      handle(async (_clientId, request) => {
        ran.push(Buffer.from(request).toString());
        const answer = Buffer.from(`${process.pid}`);
        await setTimeout(1);
        return answer;
      }),
    )
    .subscribe(server.responses);
  // The running server, if there is one, hands the address over, finishes what runs, and ends.
  await server.listen({ takeover: true });
  process.send?.('listening');
  process.on('message', () => server.requestShutdown());
  await server.closed;
  process.send?.({ ran }, () => process.disconnect());
} else {
  const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
  /** What each server ran, once it is closed. @type {Promise<string[]>[]} */
  const generations = [];
  const startServer = async () => {
    const child = fork(fileURLToPath(import.meta.url), ['server', `unix:${folder}/s`]);
    await once(child, 'message');
    generations.push(once(child, 'message').then(([{ ran }]) => ran));
    return child;
  };
  let server = await startServer();

  /** The process id of the server that answered, for each answer. @type {Subject<string>} */
  const answers$ = new Subject();
  let answered = 0;
  let resent = 0;
  const restarted = new AbortController();
  /** @type {Set<string>} */
  const pids = new Set();
  answers$.subscribe((pid) => {
    answered++;
    pids.add(pid);
  });
  /** Keeps a client busy, with 64 requests on their way, until the restarts are over; returns what it asked. @param {number} number */
  const load = async (number) => {
    const client = createSocketClient(`unix:${folder}/s`, { reconnect: { delaysMs: [1, 5, 20] } });
    await client.connect();
    const asked = [];
    while (!restarted.signal.aborted) {
      const batch = Array.from({ length: 256 }, (_, i) => `${number}.${asked.length + i}`);
      const replies$ = from(batch).pipe(
        map((each) => Buffer.from(each)),
        requestEach(client, {
          order: 'completion',
          each: (reply$) => reply$.pipe(tap({ error: () => resent++ }), resendRefused()),
        }),
        tap((reply) => answers$.next(Buffer.from(reply).toString())),
      );
      await lastValueFrom(replies$);
      asked.push(...batch);
    }
    await client.close();
    return asked;
  };
  const work = Promise.all([1, 2, 3, 4].map(load));
  for (let restart = 0; restart < 3; restart++) {
    await firstValueFrom(answers$.pipe(skip(1_000)));
    server = await startServer();
    // Until it has its part of the load.
    await firstValueFrom(answers$.pipe(filter((pid) => pid === `${server.pid}`)));
  }
  restarted.abort();
  const asked = (await work).flat();
  server.send('close');
  const ran = (await Promise.all(generations)).flat();
  const distinct = new Set(ran);
  console.log(
    JSON.stringify({
      asked: asked.length,
      answered,
      ran: ran.length,
      ranTwice: ran.length - distinct.size,
      lost: asked.filter((each) => !distinct.has(each)).length,
      servers: pids.size,
      resent,
    }),
  );
  await rm(folder, { recursive: true, force: true });
}
