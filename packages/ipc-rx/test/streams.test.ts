import type { Bytes, IpcServer } from '@spanwire/ipc-core';
import { serve } from '@spanwire/ipc-rx';
import {
  finalize,
  firstValueFrom,
  from,
  interval,
  lastValueFrom,
  map,
  NEVER,
  take,
  toArray,
  type Observable,
} from 'rxjs';
import { describe, expect, it } from 'vitest';
import { Log } from './support/log.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

/** An endless source that counts what was taken of it, and says when it was left. */
function endless(itemBytes: number): { items: AsyncIterable<Bytes>; taken: () => number; left: Log<true> } {
  let taken = 0;
  const left = new Log<true>();
  const items: AsyncIterable<Bytes> = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: false, value: new Uint8Array(itemBytes).fill(taken++ & 255) }),
      return: () => {
        left.add(true);
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  };
  return { items, taken: () => taken, left };
}

/** When this is answered, everything that the client sent before has arrived, and so have the answers to it. */
async function roundTrip(client: { request(data: Uint8Array): Promise<Bytes> }): Promise<void> {
  await client.request(bytes('ping'));
}

function serveStreams(server: IpcServer, streams: Record<string, Observable<Bytes> | AsyncIterable<Bytes>>): void {
  serve(server, (_clientId, request) => streams[text(request)] ?? request);
}

describe.each(transports)('streams over $name', ({ open }) => {
  it('a loop takes items one at a time, and what it has not taken is not produced beyond the credit', async () => {
    await using scene = await open();
    const client = await scene.connect({ streamWindowBytes: 16_384 });
    const { items, taken, left } = endless(1024);
    serveStreams(scene.server, { items });
    let count = 0;
    for await (const item of client.request$(bytes('items'))) {
      expect(item[0]).toBe(count & 255);
      // After some round trips all is produced that ever would be.
      for (let i = 0; i < 5; i++) await roundTrip(client);
      // The credit is 16 items; a part of it may be given back late, one item may overshoot, and one waits.
      expect(taken() - count).toBeLessThanOrEqual(19);
      if (++count === 50) break;
    }
    await left.reaches(1);
    await roundTrip(client);
    expect(client.stats.pending).toBe(0);
  });

  it('leaving a loop cancels the stream, also while it waits for an item', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const tornDown = new Log<true>();
    serveStreams(scene.server, { silent: NEVER.pipe(finalize(() => tornDown.add(true))) });
    const items = client.request$(bytes('silent'))[Symbol.asyncIterator]();
    const waiting = items.next();
    await roundTrip(client);
    expect(tornDown.entries).toEqual([]);
    expect(await items.return?.()).toEqual({ done: true, value: undefined });
    expect(await waiting).toEqual({ done: true, value: undefined });
    await tornDown.reaches(1);
    expect(await items.next()).toEqual({ done: true, value: undefined });
  });

  it('a loop that never takes a step sends nothing', async () => {
    await using scene = await open();
    const client = await scene.connect();
    serveStreams(scene.server, {});
    const items = client.request$(bytes('unwanted'))[Symbol.asyncIterator]();
    await items.return?.();
    expect(await items.next()).toEqual({ done: true, value: undefined });
    await roundTrip(client);
    expect(scene.server.stats.requests).toBe(1);
  });

  it('an error reaches the loop after the items before it', async () => {
    await using scene = await open();
    const client = await scene.connect();
    serveStreams(scene.server, {
      failing: (async function* () {
        yield bytes('one');
        yield bytes('two');
        throw new Error('three failed');
      })(),
    });
    const seen: string[] = [];
    const loop = async (): Promise<void> => {
      for await (const item of client.request$(bytes('failing'))) seen.push(text(item));
    };
    await expect(loop()).rejects.toMatchObject({ code: 'ERR_IPC_REMOTE', message: 'three failed' });
    expect(seen).toEqual(['one', 'two']);
  });

  it('a stalled stream stalls neither another stream nor requests of the same client', async () => {
    await using scene = await open();
    const client = await scene.connect({ streamWindowBytes: 8192 });
    const stalled = endless(1024);
    serveStreams(scene.server, {
      stalled: stalled.items,
      running: from(Array.from({ length: 500 }, (_, i) => bytes(String(i).padEnd(1000)))),
    });
    const items = client.request$(bytes('stalled'))[Symbol.asyncIterator]();
    await items.next();
    const running = await lastValueFrom(client.request$(bytes('running')).pipe(toArray()));
    expect(running.map((item) => Number(text(item)))).toEqual(Array.from({ length: 500 }, (_, i) => i));
    await roundTrip(client);
    expect(stalled.taken()).toBeLessThan(15);
    await items.return?.();
    await stalled.left.reaches(1);
  });

  it('duplex: the input is pulled at the pace of the loop that reads it, and the answer at that of its reader', async () => {
    await using scene = await open({ streamWindowBytes: 8192 });
    const client = await scene.connect({ streamWindowBytes: 8192 });
    const up = endless(1024);
    const read = new Log<number>();
    const step = new Log<() => void>();
    serve(scene.server, (_clientId, request, { input$ }) => {
      if (input$ === undefined) return request;
      return (async function* () {
        for await (const item of input$) {
          read.add(item[0] ?? -1);
          await new Promise<void>((resolve) => step.add(resolve));
          yield item;
        }
      })();
    });
    const input$ = Object.assign(NEVER as Observable<Bytes>, up.items);
    const items = client.duplex$(bytes('duplex'), input$)[Symbol.asyncIterator]();
    for (let i = 0; i < 20; i++) {
      const next = items.next();
      await step.reaches(i + 1);
      step.entries[i]?.();
      expect((await next).value?.[0]).toBe(i);
    }
    await roundTrip(client);
    expect(up.taken()).toBeLessThan(20 + 15);
    await items.return?.();
    await up.left.reaches(1);
  });

  it('a handler that leaves its input stops the stream of the client, and goes on', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const up = endless(64);
    serve(scene.server, (_clientId, _request, { input$ }) => {
      if (input$ === undefined) return undefined;
      return input$.pipe(take(3));
    });
    const input$ = Object.assign(NEVER as Observable<Bytes>, up.items);
    const items = await lastValueFrom(client.duplex$(bytes('three'), input$).pipe(toArray()));
    expect(items.map((item) => item[0])).toEqual([0, 1, 2]);
    await up.left.reaches(1);
  });

  it('a second consumer of an input fails', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const failures = new Log<unknown>();
    serve(scene.server, (_clientId, _request, { input$ }) => {
      input$?.subscribe();
      input$?.subscribe({ error: (error: unknown) => failures.add(error) });
      try {
        input$?.[Symbol.asyncIterator]();
      } catch (error) {
        failures.add(error);
      }
      return bytes('done');
    });
    await firstValueFrom(client.duplex$(bytes('go'), NEVER));
    expect(failures.entries).toHaveLength(2);
    for (const failure of failures.entries) expect(failure).toBeInstanceOf(TypeError);
  });

  it('a handler passes a stream of another server on, at the pace of its own client', async () => {
    await using far = await open();
    await using near = await open();
    const { items, taken, left } = endless(1024);
    serveStreams(far.server, { items });
    const upstream = await far.connect({ streamWindowBytes: 8192 });
    serve(near.server, (_clientId, request) => (text(request) === 'ping' ? request : upstream.request$(request)));
    const client = await near.connect({ streamWindowBytes: 8192 });
    const loop = client.request$(bytes('items'))[Symbol.asyncIterator]();
    for (let i = 0; i < 30; i++) expect((await loop.next()).value?.[0]).toBe(i);
    for (let i = 0; i < 5; i++) await Promise.all([roundTrip(client), upstream.request(bytes('ping'))]);
    // Two windows of 8 items, and what waits between them.
    expect(taken()).toBeLessThan(30 + 26);
    await loop.return?.();
    await left.reaches(1);
  });

  it('unsubscribing stops the clock of a handler', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const tornDown = new Log<true>();
    const ticks$ = interval(1).pipe(
      map((tick) => Uint8Array.of(tick & 255)),
      finalize(() => tornDown.add(true)),
    );
    serveStreams(scene.server, { ticks: ticks$ });
    await lastValueFrom(client.request$(bytes('ticks')).pipe(take(5)));
    await tornDown.reaches(1);
    await roundTrip(client);
    expect(scene.server.stats.openRequests).toBe(0);
  });
});
