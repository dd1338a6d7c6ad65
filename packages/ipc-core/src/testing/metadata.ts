/** Metadata and deadlines. */
import { expect, test } from 'vitest';
import type { IpcRequest } from '../contract.ts';
import { FLAG_EXTENSION, KIND_REQUEST } from '../frame.ts';
import { deferred, eventually, expectCode, stopTime } from './eventually.ts';
import { echo, serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeMetadata(transport: TransportUnderTest): void {
  test('metadata and what is left of the deadline arrive with the request', async () => {
    const infos: Array<Pick<IpcRequest, 'metadata' | 'deadlineMs'>> = [];
    const { client } = await withClient(transport, (_id, request, info) => {
      infos.push({ metadata: info.metadata, deadlineMs: info.deadlineMs });
      return request;
    });
    const metadata = new Map([
      ['tenant', 'ada'],
      ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
      ['', 'an empty key, \u{1F4E6}'],
    ]);
    const payload = pattern(333);
    expect(await client.request(payload, { metadata, timeoutMs: 20_000 })).toEqual(payload);
    expect(await client.request(payload, { metadata })).toEqual(payload);
    expect(await client.request(payload, { timeoutMs: 20_000 })).toEqual(payload);
    expect(await client.request(payload)).toEqual(payload);
    expect(infos.map((info) => info.metadata && new Map(info.metadata))).toEqual([
      metadata,
      metadata,
      undefined,
      undefined,
    ]);
    const [first, second, third, fourth] = infos.map((info) => info.deadlineMs);
    for (const deadlineMs of [first, third]) {
      expect(deadlineMs).toBeGreaterThan(0);
      expect(deadlineMs).toBeLessThanOrEqual(20_000);
    }
    expect([second, fourth]).toEqual([undefined, undefined]);
  });

  test('metadata over 1 KiB is refused with a RangeError, and nothing is sent', async () => {
    const { client, fixture } = await withClient(transport, echo);
    const fits = new Map([['k', 'v'.repeat(1024 - 5)]]);
    const over = new Map([['k', 'v'.repeat(1024 - 4)]]);
    await expect(client.request(u32(1), { metadata: over })).rejects.toBeInstanceOf(RangeError);
    await client.request(u32(1), { metadata: fits });
    expect(fixture.server.stats.requests).toBe(1);
  });

  test('the deadline aborts the signal of the request, and an answer after it is dropped', async () => {
    const gate = deferred();
    const running: AbortSignal[] = [];
    const { client, fixture } = await withClient(transport, async (_id, request, info) => {
      if (textOf(request) !== 'slow') return request;
      running.push(info.signal);
      await gate.promise;
      return request;
    });
    const { passTime } = stopTime();
    const late = expectCode(client.request(bytesOf('slow'), { timeoutMs: 500 }), 'ERR_IPC_TIMEOUT');
    await eventually('it runs', () => running.length === 1);
    expect(running[0]!.aborted).toBe(false);
    passTime(500);
    await late;
    await eventually('the signal aborts', () => running[0]!.aborted);
    gate.resolve();
    await eventually('the late answer is dropped', () => fixture.server.stats.droppedAnswers === 1);
    expect(textOf(await client.request(bytesOf('next')))).toBe('next');
    await eventually('nothing is open', () => fixture.server.stats.openRequests === 0 && client.stats.pending === 0);
  });

  test('an answer after the deadline is dropped, also when the client says nothing: its call timed out', async () => {
    const fixture = await serveWith(transport, (_id, request, info) => {
      if (info.deadlineMs === undefined) return request;
      return new Promise((resolve) => info.signal.addEventListener('abort', () => resolve(request)));
    });
    const raw = await fixture.raw();
    // u16 size of the fields, then type 1, 4 bytes: 20 ms; padded to 16 bytes.
    const extended = Uint8Array.of(8, 0, 1, 0, 4, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7);
    await raw.send(KIND_REQUEST, 1, extended, FLAG_EXTENSION);
    await raw.untilEnded(1);
    expect(raw.errorCode(1)).toBe('ERR_IPC_TIMEOUT');
    await raw.send(KIND_REQUEST, 2, u32(2));
    await raw.untilEnded(2);
    expect(raw.terminals(1).length).toBe(1);
    expect(fixture.server.stats).toMatchObject({ droppedAnswers: 1, openRequests: 0 });
  });
}
