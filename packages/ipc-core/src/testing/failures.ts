/** Handlers that fail, and what their clients learn of it. */
import { expect, test } from 'vitest';
import type { Bytes } from '../contract.ts';
import { RemoteError } from '../errors.ts';
import { expectCode } from './eventually.ts';
import { withClient } from './fixture.ts';
import { bytesOf, readU32, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeFailures(transport: TransportUnderTest): void {
  test('a handler that throws rejects its own request with what it threw, without the stack', async () => {
    class Missing extends Error {
      override readonly name = 'Missing';
      readonly code = 'ENOENT';
    }
    const { client } = await withClient(transport, (_id, request) => {
      if (textOf(request) === 'bad') throw new Missing('no such thing');
      return request;
    });
    const good = Array.from({ length: 20 }, (_, i) => client.request(u32(i)));
    const failure = client.request(bytesOf('bad'));
    const more = Array.from({ length: 20 }, (_, i) => client.request(u32(i)));
    const error: unknown = await failure.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RemoteError);
    expect(error).toMatchObject({
      code: 'ERR_IPC_REMOTE',
      message: 'no such thing',
      remote: { name: 'Missing', message: 'no such thing', code: 'ENOENT' },
    });
    expect(JSON.stringify((error as RemoteError).remote)).not.toContain('at ');
    expect((await Promise.all([...good, ...more])).map((answer) => readU32(answer))).toEqual([
      ...Array(20).keys(),
      ...Array(20).keys(),
    ]);
  });

  test('a handler may throw or reject with any value at all: its request fails, and nothing else', async () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const values: unknown[] = [
      undefined,
      null,
      0,
      'text',
      Symbol('symbol'),
      12n,
      () => 1,
      {},
      { message: 'plain object', code: 5 },
      {
        get message(): string {
          throw new Error('a getter that throws');
        },
      },
      {
        toString: () => {
          throw new Error('a toString that throws');
        },
      },
      Object.create(null),
      proxy,
      new Error('x'.repeat(100_000)),
      Object.assign(new Error('odd'), { name: 'n'.repeat(10_000), code: 'c'.repeat(10_000) }),
      new Error('\u{1F4A9}\u0000"\\'.repeat(5000)),
      Object.assign(new Error('a code of ours'), { code: 'ERR_IPC_REFUSED' }),
    ];
    const { client } = await withClient(
      transport,
      (_id, request, info) => {
        const value = values[readU32(request)];
        if (info.metadata === undefined) throw value;
        return Promise.reject(value);
      },
      {},
      // An error must fit whatever the window.
      { responseWindowBytes: 8 * 1024 },
    );
    for (const metadata of [undefined, new Map([['reject', 'yes']])]) {
      for (let i = 0; i < values.length; i++) {
        const error: unknown = await client.request(u32(i), { metadata }).catch((reason: unknown) => reason);
        expect({ i, remote: error instanceof RemoteError }).toEqual({ i, remote: true });
      }
    }
  });

  test('a handler that returns something senseless fails its request with a TypeError', async () => {
    const outputs: unknown[] = [null, 'text', 5, {}, [], new ArrayBuffer(8)];
    const { client } = await withClient(transport, (_id, request) => outputs[readU32(request)] as Bytes);
    for (let i = 0; i < outputs.length; i++) {
      await expect(client.request(u32(i))).rejects.toMatchObject({
        code: 'ERR_IPC_REMOTE',
        remote: { name: 'TypeError', message: expect.stringMatching(/^Expected the handler to return .*, got /) },
      });
    }
  });

  test('a handler without an answer: request rejects with "no answer", request$ completes empty', async () => {
    const { client } = await withClient(transport, () => undefined);
    await expect(client.request(bytesOf('x'))).rejects.toMatchObject({
      code: 'ERR_IPC_REMOTE',
      message: expect.stringContaining('no answer'),
    });
    await expectCode(client.exchange(bytesOf('x')), 'ERR_IPC_REMOTE');
    const items: Bytes[] = [];
    await client.request$(bytesOf('x')).forEach((item) => items.push(item));
    expect(items).toEqual([]);
  });
}
