import type { IpcRequest, IpcResponse } from '@spanwire/ipc-core';
import { releaseAfter } from '@spanwire/ipc-rx';
import { delay, map, of, throwError, type OperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('releaseAfter, in marbles', () => {
  it('passes on what comes of each request, and releases it when that completes', () => {
    marbles(({ cold, hot, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2' });
      const released$ = hot('----p--q').pipe(map(() => [values.a.released, values.b.released]));
      const result$ = cold('-a-b-|', values).pipe(releaseAfter(() => cold('--x|')));
      expectObservable(result$).toBe('---x-x|');
      expectObservable(released$).toBe('----p--q', { p: [false, false], q: [true, true] });
    });
  });

  it('releases what errors, what throws and what is left', () => {
    marbles(({ cold, hot, expectObservable, flush }) => {
      const clients = new MarbleClients();
      const [failing, throwing, running] = [clients.request('a1'), clients.request('a2'), clients.request('a3')];
      const broken = new Error('broken');
      expectObservable(cold('-a', { a: failing }).pipe(releaseAfter(() => throwError(() => broken)))).toBe(
        '-#',
        undefined,
        broken,
      );
      const thrower = (): never => {
        throw broken;
      };
      expectObservable(cold('-a', { a: throwing }).pipe(releaseAfter(thrower))).toBe('-#', undefined, broken);
      expectObservable(hot('-a', { a: running }).pipe(releaseAfter(() => cold('------x'))), '---!').toBe('----');
      flush();
      expect([failing.released, throwing.released, running.released]).toEqual([true, true, true]);
    });
  });
});

it('releaseAfter gives what its project gives, and refuses bad arguments at once', () => {
  refuses(() => releaseAfter('project' as never));
  expectTypeOf(releaseAfter((request: IpcRequest) => [request.clientId])).toEqualTypeOf<
    OperatorFunction<IpcRequest, number>
  >();
});

describe.each(transports)('releaseAfter over $name', ({ open }) => {
  it('gives the window back although the answer comes later', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const client = await scene.connect();
    const answers = new Log<IpcResponse>();
    // Answers leave in one go, at the end: only releases can let 30 requests of 1,000 bytes in.
    scene.server.requests$
      .pipe(
        releaseAfter(({ clientId, requestId, span }) =>
          of<IpcResponse>({ clientId, requestId, data: new Uint8Array(span) }).pipe(delay(0)),
        ),
      )
      .subscribe((answer) => answers.add(answer));
    const replies = Array.from({ length: 30 }, (_, i) => client.request(bytes(String(i).padEnd(1000))));
    await answers.reaches(30);
    for (const answer of answers.entries) scene.server.responses.next(answer);
    expect((await Promise.all(replies)).map((each) => Number(text(each)))).toEqual(replies.map((_, i) => i));
  });
});
