// @ts-check
// Search as you type: each keystroke starts a search in another process and cancels the one before, there as well.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { json, serve, utf8 } from '@spanwire/ipc-rx';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import {
  BehaviorSubject,
  finalize,
  interval,
  lastValueFrom,
  map,
  Observable,
  scan,
  switchMap,
  takeWhile,
  tap,
} from 'rxjs';

const [role, address = ''] = process.argv.slice(2);

if (role === 'server') {
  const LETTERS = Array.from('abcdefghijklmnopqrstuvwxyz');
  /** All words of four letters that begin with `prefix`. @param {string} prefix @returns {Generator<string, undefined>} */
  function* wordsFrom(prefix) {
    if (prefix.length === 4) yield prefix;
    else for (const letter of LETTERS) yield* wordsFrom(prefix + letter);
  }
  const stats = { started: 0, finished: 0, cancelled: 0 };
  const search = (/** @type {string} */ prefix) =>
    new Observable((subscriber) => {
      stats.started++;
      let finished = false;
      subscriber.add(() => (finished ? stats.finished++ : stats.cancelled++));
      const words = wordsFrom(prefix);
      // It finds a word every 10 ms: "q" would take minutes, "quiz" is there at once.
      return interval(10)
        .pipe(
          map(() => words.next().value),
          takeWhile((word) => word !== undefined),
          map((word) => utf8.encode(word)),
          tap({ complete: () => (finished = true) }),
        )
        .subscribe(subscriber);
    });
  const server = createSocketServer(address);
  serve(server, (_clientId, request) => {
    const query = utf8.decode(request);
    return query === 'stats' ? json.encode(stats) : /** @type {Observable<Uint8Array>} */ (search(query));
  });
  await server.listen();
  process.send?.('ready');
} else {
  const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
  const child = fork(fileURLToPath(import.meta.url), ['server', `unix:${folder}/s`]);
  await once(child, 'message');
  const client = createSocketClient(`unix:${folder}/s`);
  await client.connect();

  // What is typed: the next keystroke comes as soon as the first result is there.
  const texts = ['qu', 'q', 'quiz'];
  const typed$ = new BehaviorSubject('q');
  let leftEarly = 0;
  const results$ = typed$.pipe(
    switchMap((text) => {
      let finished = false;
      return client.request$(utf8.encode(text)).pipe(
        map((item) => utf8.decode(item)),
        scan((/** @type {string[]} */ found, word) => [...found, word], []),
        tap({ complete: () => (finished = true) }),
        finalize(() => (leftEarly += finished ? 0 : 1)),
      );
    }),
    tap(() => {
      const next = texts.shift();
      if (next === undefined) typed$.complete();
      else typed$.next(next);
    }),
  );
  const shown = await lastValueFrom(results$);
  const stats = json.decode(await client.request(utf8.encode('stats')));
  console.log(JSON.stringify({ shown, leftEarly, stats }));
  await client.close();
  child.kill();
  await rm(folder, { recursive: true, force: true });
}
