import type { IpcRequest } from '@spanwire/ipc-core';
import { decode, json, toAsyncIterable, type DecodedRequest } from '@spanwire/ipc-rx';
import { Subject } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { MarbleClients } from './support/marble-request.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('toAsyncIterable', () => {
  it('keeps the type of its requests', () => {
    const decoded$ = new Subject<IpcRequest>().pipe(decode(json));
    expectTypeOf(toAsyncIterable(decoded$)).toEqualTypeOf<AsyncIterableIterator<DecodedRequest<unknown>, undefined>>();
  });

  it('subscribes with the first step, and gives an error after what came before it', async () => {
    const requests$ = new Subject<IpcRequest>();
    const loop = toAsyncIterable(requests$);
    expect(requests$.observed).toBe(false);
    const { a, b } = new MarbleClients().requests({ a: 'a1', b: 'a2' });
    const first = loop.next();
    requests$.next(a);
    requests$.next(b);
    requests$.error(new Error('broken'));
    expect(await first).toEqual({ done: false, value: a });
    expect(await loop.next()).toEqual({ done: false, value: b });
    await expect(loop.next()).rejects.toThrow('broken');
    expect(await loop.next()).toEqual({ done: true, value: undefined });
  });

  it('answers several steps that wait in their order, and ends them when it is left', async () => {
    const requests$ = new Subject<IpcRequest>();
    const loop = toAsyncIterable(requests$);
    const steps = [loop.next(), loop.next(), loop.next()];
    const { a, b } = new MarbleClients().requests({ a: 'a1', b: 'a2' });
    requests$.next(a);
    requests$.next(b);
    expect(await loop.return?.()).toEqual({ done: true, value: undefined });
    expect((await Promise.all(steps)).map(({ value }) => value)).toEqual([a, b, undefined]);
    expect(requests$.observed).toBe(false);
  });

  it('skips what was cancelled while it waited, and refuses what waits when the loop is left', async () => {
    const requests$ = new Subject<IpcRequest>();
    const loop = toAsyncIterable(requests$);
    const { a, b, c, d } = new MarbleClients().requests({ a: 'a1', b: 'a2', c: 'a3', d: 'a4' });
    const first = loop.next();
    for (const request of [a, b, c, d]) requests$.next(request);
    b.ended = true;
    expect([(await first).value, (await loop.next()).value]).toEqual([a, c]);
    expect(b.released).toBe(true);
    await loop.return?.();
    expect(d.failure?.code).toBe('ERR_IPC_REFUSED');
    expect(d.released).toBe(true);
  });
});

describe.each(transports)('toAsyncIterable over $name', ({ open }) => {
  it('lets clients wait for the loop, and ends with the server', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const [client, other] = [await scene.connect(), await scene.connect()];
    const replies = Array.from({ length: 40 }, (_, i) => client.request(bytes(String(i).padEnd(1000))));
    let served = 0;
    let most = 0;
    for await (const request of toAsyncIterable(scene.server.requests$)) {
      most = Math.max(most, scene.server.stats.openRequests);
      expect(request.respond(request.span)).toBe(true);
      if (++served === 20) replies.push(other.request(bytes('other')));
      if (served === 41) scene.server.requestShutdown();
    }
    const answers = (await Promise.all(replies)).map((reply) => text(reply).trim());
    expect(answers).toEqual([...Array.from({ length: 40 }, (_, i) => String(i)), 'other']);
    // Eight of 1,000 bytes are a window.
    expect(most).toBeLessThanOrEqual(9);
    expect(served).toBe(41);
  });
});
