/** The credit of streams: sources are held back, each by its own consumer. */
import { concat, map, NEVER, of, range, Subject } from 'rxjs';
import { expect, test } from 'vitest';
import { KIND_END, KIND_ITEM, KIND_REQUEST, KIND_STREAM_REQUEST } from '../frame.ts';
import { eventually, failureOf, turn } from './eventually.ts';
import { serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import { itemsOf, PulledItems } from './sources.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeCredit(transport: TransportUnderTest): void {
  test('an AsyncIterable is pulled only as far as the client gives credit', async () => {
    const items = new PulledItems(100, (index) => new Uint8Array(1024).fill(index));
    const fixture = await serveWith(transport, (_id, request) => (textOf(request) === 'pulled' ? items : request));
    const raw = await fixture.raw({ streamWindowBytes: 4096 });
    await raw.send(KIND_STREAM_REQUEST, 7, bytesOf('pulled'));
    await eventually('the credit is used', () => raw.ofKind(KIND_ITEM, 7).length === 4);
    // A whole conversation of the same client later, nothing more was pulled.
    for (let i = 0; i < 10; i++) {
      await raw.send(KIND_REQUEST, 100 + i, bytesOf('other'));
      await raw.untilEnded(100 + i);
    }
    expect(raw.ofKind(KIND_ITEM, 7).length).toBe(4);
    expect(items.pulled).toBe(4);
    raw.credit(7, 1024);
    await eventually('one more', () => raw.ofKind(KIND_ITEM, 7).length === 5);
    raw.credit(7, 2 ** 31);
    await raw.untilEnded(7);
    expect(raw.ofKind(KIND_ITEM, 7).map(({ payload }) => payload[0])).toEqual([...Array(100).keys()]);
    expect(items.pulled).toBe(100);
  });

  test('a client that iterates a stream holds its source back, without holding anybody else', async () => {
    const items = new PulledItems(1000, (index) => new Uint8Array(1024).fill(index));
    const { client } = await withClient(
      transport,
      (_id, request) => (textOf(request) === 'pulled' ? items : request),
      {},
      { streamWindowBytes: 8 * 1024 },
    );
    let taken = 0;
    for await (const item of client.request$(bytesOf('pulled'))) {
      expect(item[0]).toBe(taken % 256);
      taken++;
      if (taken % 100 === 1) {
        for (let i = 0; i < 5; i++) expect(textOf(await client.request(bytesOf('beside')))).toBe('beside');
        expect(items.pulled).toBeLessThanOrEqual(taken + 9);
      }
    }
    expect(taken).toBe(1000);
  });

  test('a loop that is left early cancels its stream', async () => {
    const items = new PulledItems(1000, () => new Uint8Array(1024));
    const { client, server } = await withClient(transport, () => items, {}, { streamWindowBytes: 8 * 1024 });
    for await (const item of client.request$(u32(0))) {
      expect(item.byteLength).toBe(1024);
      break;
    }
    await eventually('return() is called', () => items.returned === 1);
    expect(items.pulled).toBeLessThanOrEqual(10);
    await eventually('nothing is open', () => server.stats.openRequests === 0);
  });

  test('a stream that is not taken does not hold another one of the same client', async () => {
    const fixture = await serveWith(
      transport,
      async function* () {
        for (let i = 0; i < 320; i++) yield new Uint8Array(1024);
      },
      { responseWindowBytes: 32 * 1024 },
    );
    const raw = await fixture.raw({ streamWindowBytes: 4096, responseWindowBytes: 32 * 1024 });
    await raw.send(KIND_STREAM_REQUEST, 1);
    await eventually('the first has used its credit', () => raw.ofKind(KIND_ITEM, 1).length === 4);
    await raw.send(KIND_STREAM_REQUEST, 2);
    // Ten windows of the second pass beside it.
    for (let given = 0; raw.ofKind(KIND_END, 2).length === 0;) {
      const count = raw.ofKind(KIND_ITEM, 2).length;
      if (count > given) raw.credit(2, 1024 * (count - given));
      given = count;
      await turn();
    }
    expect(raw.ofKind(KIND_ITEM, 2).length).toBe(320);
    expect(raw.ofKind(KIND_ITEM, 1).length).toBe(4);
  });

  test('one stream that stays open does not stop ten windows of other requests', async () => {
    const { client } = await withClient(
      transport,
      (_id, request) => (textOf(request.subarray(0, 4)) === 'open' ? concat(of(bytesOf('first')), NEVER) : request),
      { windowBytes: 32 * 1024 },
      { responseWindowBytes: 32 * 1024 },
    );
    const items: string[] = [];
    const payload = pattern(4096);
    const open = new Uint8Array(4096);
    open.set(bytesOf('open'));
    const subscription = client.request$(open).subscribe((item) => items.push(textOf(item)));
    for (let i = 0; i < 80; i++) expect(sameBytes(await client.request(payload), payload)).toBe(true);
    await eventually('the first item', () => items.length === 1);
    subscription.unsubscribe();
  });

  test('an Observable that is 1,024 items ahead of its consumer errors with ERR_IPC_OVERLOADED', async () => {
    const source = new Subject<Uint8Array>();
    const fixture = await serveWith(transport, () => source);
    const raw = await fixture.raw({ streamWindowBytes: 1024 });
    await raw.send(KIND_STREAM_REQUEST, 3);
    await eventually('it is subscribed', () => source.observed);
    source.next(new Uint8Array(1024));
    for (let i = 0; i < 1024; i++) source.next(u32(i));
    expect(source.observed).toBe(true);
    source.next(u32(1024));
    expect(source.observed).toBe(false);
    await raw.untilEnded(3);
    expect(raw.errorCode(3)).toBe('ERR_IPC_OVERLOADED');
  });

  for (const [overflow, kept] of [
    ['drop-oldest', [10, 1033]],
    ['drop-newest', [0, 1023]],
  ] as const) {
    test(`with overflow "${overflow}" it goes on with ${kept[0]} to ${kept[1]} of 1,034 items`, async () => {
      const source = new Subject<Uint8Array>();
      const fixture = await serveWith(transport, () => source, { overflow });
      const raw = await fixture.raw({ streamWindowBytes: 1024 });
      await raw.send(KIND_STREAM_REQUEST, 3);
      await eventually('it is subscribed', () => source.observed);
      source.next(new Uint8Array(1024));
      for (let i = 0; i < 1034; i++) source.next(u32(i));
      source.complete();
      raw.credit(3, 2 ** 20);
      await raw.untilEnded(3);
      const values = raw.ofKind(KIND_ITEM, 3).map(({ payload }) => readU32(payload));
      expect(values.slice(1)).toEqual(Array.from({ length: 1024 }, (_, i) => kept[0] + i));
    });
  }

  test('an Observable that emits for ever in its subscribe errors its stream, and the server lives', async () => {
    const { client } = await withClient(transport, (_id, request) =>
      textOf(request) === 'endless' ? range(0, Number.MAX_SAFE_INTEGER).pipe(map(u32)) : request,
    );
    expect(await failureOf(itemsOf(client.request$(bytesOf('endless'))))).toMatchObject({
      code: 'ERR_IPC_OVERLOADED',
    });
    expect(textOf(await client.request(bytesOf('alive')))).toBe('alive');
  });
}
