import type { IpcRequest, IpcResponse } from '@spanwire/ipc-core';
import { handle, perClient } from '@spanwire/ipc-rx';
import { concatMap, firstValueFrom, map, materialize, mergeMap, take, toArray } from 'rxjs';
import type { GroupedObservable, Observable, OperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('perClient, in marbles', () => {
  it('opens one group per client, which all complete with the source', () => {
    marbles(({ cold, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2', c: 'a3' });
      const source = cold('-a-b-c-|', values);
      expectObservable(source.pipe(perClient(), mergeMap(idsWithKey))).toBe('-a-b-c-|', {
        a: [10, 1],
        b: [11, 2],
        c: [10, 3],
      });
    });
  });

  it("completes a client's group when the client leaves, and no other", () => {
    marbles(({ cold, hot, expectObservable }) => {
      const clients = new MarbleClients();
      const values = clients.requests({ a: 'a1', b: 'b2', c: 'b3' });
      hot('---x').subscribe(() => clients.signalOf(10).abort());
      const ends$ = cold('-ab--c-|', values).pipe(
        perClient(),
        mergeMap((client$) =>
          client$.pipe(
            materialize(),
            map(({ kind }) => `${client$.key}${kind}`),
          ),
        ),
      );
      expectObservable(ends$).toBe('-abx-c-(y|)', { a: '10N', b: '11N', c: '11N', x: '10C', y: '11C' });
    });
  });

  it('keeps what is unreleased for a late subscriber, and skips what was released', () => {
    marbles(({ cold, hot, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'a2', c: 'a3' });
      hot('---x').subscribe(() => values.a.release());
      // The first group is read only when the gate opens.
      const late$ = hot('-----x').pipe(
        take(1),
        mergeMap(() => groups[0] ?? []),
      );
      const groups: Array<Observable<IpcRequest>> = [];
      cold('-ab---c-|', values)
        .pipe(perClient())
        .subscribe((group) => groups.push(group));
      expectObservable(late$).toBe('-----bc-|', values);
    });
  });

  it('passes an error to the groups and on', () => {
    marbles(({ cold, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1' });
      const failures$ = cold('-a-#', values).pipe(
        perClient(),
        mergeMap((client$) => client$.pipe(materialize())),
        map((each) => each.kind),
      );
      expectObservable(failures$).toBe('-N-(E#)', { N: 'N', E: 'E' });
    });
  });

  it('goes on for the groups that are read when nobody takes new groups, and refuses what nobody can take', () => {
    marbles(({ hot, expectObservable, expectSubscriptions, flush }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2', c: 'a3' });
      const source = hot('-a-b-c--', values);
      const firstClient$ = source.pipe(
        perClient(),
        take(1),
        mergeMap((client$) => client$),
      );
      expectObservable(firstClient$, '^-----!').toBe('-a---c', values);
      expectSubscriptions(source.subscriptions).toBe('^-----!');
      flush();
      expect(values.b.failure?.code).toBe('ERR_IPC_REFUSED');
      expect(values.b.released).toBe(true);
    });
  });

  it('refuses what waits in a group when everybody has left', () => {
    marbles(({ hot, expectObservable, flush }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2' });
      // The second group waits for the first to complete.
      const inTurn$ = hot('-ab---', values).pipe(
        perClient(),
        concatMap((client$) => client$),
      );
      expectObservable(inTurn$, '^---!').toBe('-a--', values);
      flush();
      expect(values.b.failure?.code).toBe('ERR_IPC_REFUSED');
      expect(values.a.failure).toBeUndefined();
    });
  });
});

it('perClient keeps the type of its requests', () => {
  interface Tagged extends IpcRequest {
    readonly tag: string;
  }
  expectTypeOf(perClient<Tagged>()).toEqualTypeOf<OperatorFunction<Tagged, GroupedObservable<number, Tagged>>>();
});

describe.each(transports)('perClient over $name', ({ open }) => {
  it('keeps the state of each client apart, and learns when one leaves', async () => {
    await using scene = await open();
    const left = new Log<number>();
    scene.server.requests$
      .pipe(
        perClient(),
        mergeMap((client$) => {
          let count = 0;
          client$.subscribe({ complete: () => left.add(client$.key) });
          return client$.pipe(map((request): IpcResponse => ({ ...request, data: bytes(String(++count)) })));
        }),
      )
      .subscribe(scene.server.responses);
    const [one, other] = [await scene.connect(), await scene.connect()];
    expect(text(await one.request(bytes('')))).toBe('1');
    expect(text(await one.request(bytes('')))).toBe('2');
    expect(text(await other.request(bytes('')))).toBe('1');
    await one.close();
    await left.reaches(1);
    expect(text(await other.request(bytes('')))).toBe('2');
    expect(left.entries).toHaveLength(1);
  });

  it('stops a client whose group nobody reads, and no other; a late reader loses nothing', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const waiting: Array<Observable<IpcRequest>> = [];
    const first = await scene.connect();
    const firstId = (await firstValueFrom(scene.server.clients$)).clientId;
    scene.server.requests$
      .pipe(
        perClient(),
        mergeMap((client$) => {
          if (client$.key !== firstId) return client$;
          waiting.push(client$);
          return [];
        }),
        handle((_clientId, request) => request),
      )
      .subscribe(scene.server.responses);
    const replies = Array.from({ length: 40 }, (_, i) => first.request(bytes(`${i}`.padEnd(1000))));
    const second = await scene.connect();
    expect(text(await second.request(bytes('hello')))).toBe('hello');
    // Eight messages of 1,000 bytes are more than the window of 8 KiB.
    expect(scene.server.stats.openRequests).toBeLessThanOrEqual(8);
    expect(scene.server.stats.openRequests).toBeGreaterThan(0);
    waiting[0]?.pipe(handle((_clientId, request) => request)).subscribe(scene.server.responses);
    const answers = (await Promise.all(replies)).map((each) => Number(text(each)));
    expect(answers).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  it('gives a second subscriber of a group what comes from then on', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const seen = new Log<number>();
    scene.server.requests$
      .pipe(
        perClient(),
        mergeMap((client$) => {
          client$.pipe(take(2), toArray()).subscribe((requests) => seen.add(requests.length));
          return client$.pipe(handle((_clientId, request) => request));
        }),
      )
      .subscribe(scene.server.responses);
    await client.request(bytes('1'));
    await client.request(bytes('2'));
    await seen.reaches(1);
    await client.request(bytes('3'));
    expect(seen.entries).toEqual([2]);
  });
});

function idsWithKey(client$: GroupedObservable<number, IpcRequest>): Observable<[number, number]> {
  return client$.pipe(map((request) => [client$.key, request.requestId]));
}
