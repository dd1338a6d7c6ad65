import type { IpcRequest, IpcResponse } from '@spanwire/ipc-core';
import {
  decode,
  DecodeError,
  encode,
  json,
  msgpack,
  raw,
  typed,
  utf8,
  type Codec,
  type DecodedRequest,
  type ValueResponse,
} from '@spanwire/ipc-rx';
import { from, lastValueFrom, map, of, toArray, type OperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('codecs', () => {
  it.each([
    ['utf8', utf8, ['', 'plain', 'süß 🦊', '\uFEFFbyte order mark']],
    ['json', json, [null, 0, '', [1, 'a', { b: [] }], { nested: { deep: true } }]],
    ['msgpack', msgpack, [null, 0, '', [1, 'a', { b: [] }], -(2 ** 40), 1.5, Uint8Array.of(1, 2, 3)]],
    ['raw', raw, [Uint8Array.of(), Uint8Array.of(1, 2, 3)]],
  ] as Array<[string, Codec<unknown>, unknown[]]>)('%s gives back what it was given', (_name, codec, values) => {
    for (const value of values) {
      const back = codec.decode(codec.encode(value));
      if (value instanceof Uint8Array) expect(Array.from(back as Uint8Array)).toEqual(Array.from(value));
      else expect(back).toEqual(value);
    }
  });

  it.each([
    ['utf8', utf8 as Codec<unknown>, Uint8Array.of(0xc3, 0x28)],
    ['json', json, bytes('{"a":')],
    ['json with bad text', json, Uint8Array.of(0x22, 0xff, 0x22)],
    ['msgpack that ends early', msgpack, Uint8Array.of(0x93, 0x01)],
    ['msgpack with a rest', msgpack, Uint8Array.of(0x01, 0x02)],
  ])('%s refuses bad bytes', (_name, codec, bad) => {
    expect(() => codec.decode(bad)).toThrow();
  });

  it('msgpack copies binary parts, and gives bytes that its next call leaves alone', () => {
    const source = new Uint8Array(msgpack.encode({ part: Uint8Array.of(1, 2, 3) }));
    const { part } = msgpack.decode(source) as { part: Uint8Array };
    source.fill(0);
    expect(Array.from(part)).toEqual([1, 2, 3]);
    const first = msgpack.encode('first');
    msgpack.encode('second');
    expect(msgpack.decode(first)).toBe('first');
  });

  it('json refuses what it cannot say', () => {
    for (const value of [undefined, () => 1, 1n]) expect(() => json.encode(value)).toThrow(TypeError);
  });
});

describe('decode and encode, in marbles', () => {
  it('decodes, and answers bad bytes with an error', () => {
    marbles(({ cold, expectObservable, flush }) => {
      const clients = new MarbleClients();
      const values = { a: clients.request('a1', bytes('1')), x: clients.request('a2', bytes('{')) };
      const decoded$ = cold('-ax-|', values).pipe(
        decode(json),
        map((request) => ({ ...request })),
      );
      expectObservable(decoded$).toBe('-a--|', { a: { clientId: 10, requestId: 1, value: 1 } });
      flush();
      expect(values.x.outcome?.error).toBeInstanceOf(DecodeError);
      expect(values.x.outcome?.error).toHaveProperty('cause', expect.any(SyntaxError));
      expect(values.a.ended).toBe(false);
    });
  });

  it('encodes values, passes errors and nothing, and answers with the error of a codec', () => {
    const ids = { clientId: 1, requestId: 2 };
    const broken = new Error('broken');
    const results: IpcResponse[] = [];
    const responses: Array<ValueResponse<unknown>> = [
      { ...ids, value: [1] },
      { ...ids, error: broken },
      ids,
      { ...ids, value: 1n },
    ];
    from(responses)
      .pipe(encode(json))
      .subscribe((each) => results.push(each));
    expect(results.slice(0, 3)).toEqual([{ ...ids, data: bytes('[1]') }, { ...ids, error: broken }, ids]);
    expect(results[3]?.error).toBeInstanceOf(TypeError);
  });

  it('pass errors on, and leave their source when they are left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const requests$ = cold<IpcRequest>('--#');
      const answers$ = cold<ValueResponse<unknown>>('--#');
      expectObservable(requests$.pipe(decode(json))).toBe('--#');
      expectObservable(requests$.pipe(decode(json)), '-!').toBe('--');
      expectObservable(answers$.pipe(encode(json))).toBe('--#');
      expectObservable(answers$.pipe(encode(json)), '-!').toBe('--');
      expectSubscriptions(requests$.subscriptions).toBe(['^-!', '^!']);
      expectSubscriptions(answers$.subscriptions).toBe(['^-!', '^!']);
    });
  });
});

it('decode and encode have the types of their codec, and refuse what is none at once', () => {
  expectTypeOf(decode(utf8)).toEqualTypeOf<OperatorFunction<IpcRequest, DecodedRequest<string>>>();
  expectTypeOf(decode(typed<{ a: number }>(json))).toEqualTypeOf<
    OperatorFunction<IpcRequest, DecodedRequest<{ a: number }>>
  >();
  expectTypeOf(encode(utf8)).toEqualTypeOf<OperatorFunction<ValueResponse<string>, IpcResponse>>();
  // @ts-expect-error a value of another type
  of({ clientId: 1, value: 1 }).pipe(encode(utf8));
  refuses(() => decode({ decode: () => 1 } as never));
  refuses(() => encode(undefined as never));
});

describe.each(transports)('decode and encode over $name', ({ open }) => {
  it.each([
    ['json', json],
    ['msgpack', msgpack],
  ])('speak %s, and bad bytes concern their request only', async (_name, codec) => {
    await using scene = await open();
    const client = await scene.connect();
    scene.server.requests$
      .pipe(
        decode(codec),
        map((request) => ({ ...request, value: { youSent: request.value } })),
        encode(codec),
      )
      .subscribe(scene.server.responses);
    const good = client.request(codec.encode(['a', 1]));
    const bad = client.request(bytes('\u0000{{{'));
    // It may fail in the same turn.
    bad.catch(() => undefined);
    expect(codec.decode(await good)).toEqual({ youSent: ['a', 1] });
    await expect(bad).rejects.toMatchObject({ remote: { name: 'DecodeError', code: 'ERR_DECODE' } });
    expect(codec.decode(await client.request(codec.encode(null)))).toEqual({ youSent: null });
    expect(scene.server.stats.openRequests).toBe(0);
  });

  it('encode the items of streams, and stop an iterable source while it waits', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const left = new Log<true>();
    const waiting: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: () => {
          left.add(true);
          return Promise.resolve({ done: true, value: undefined });
        },
      }),
    };
    const sources: Record<string, ValueResponse<number>['values']> = {
      observable: from([1, 2]),
      iterable: generate([3, 4]),
      waiting,
    };
    scene.server.requests$
      .pipe(
        decode(utf8),
        map(({ clientId, requestId, value }): ValueResponse<number> => {
          const values = sources[value];
          return values === undefined ? { clientId, requestId } : { clientId, requestId, values };
        }),
        encode(typed<number>(json)),
      )
      .subscribe(scene.server.responses);
    const items = (question: string): Promise<string[]> =>
      lastValueFrom(client.request$(bytes(question)).pipe(map(text), toArray()));
    expect(await items('observable')).toEqual(['1', '2']);
    expect(await items('iterable')).toEqual(['3', '4']);
    const subscription = client.request$(bytes('waiting')).subscribe();
    // Answered after the stream was opened: both come over the same connection.
    await items('nothing');
    subscription.unsubscribe();
    await left.reaches(1);
  });
});

async function* generate(values: readonly number[]): AsyncGenerator<number> {
  yield* values;
}
