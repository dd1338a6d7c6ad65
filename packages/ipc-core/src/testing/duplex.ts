/** Duplex requests: a stream each way. */
import { concat, endWith, from, lastValueFrom, map, NEVER, Observable, of, Subject, take, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import type { Bytes, IpcRequest, ItemStream } from '../contract.ts';
import { KIND_CANCEL, KIND_DUPLEX_REQUEST, KIND_ITEM, KIND_REQUEST } from '../frame.ts';
import { deferred, eventually, failureOf } from './eventually.ts';
import { serve, serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

function texts(items$: Observable<Bytes>): Promise<string[]> {
  return lastValueFrom(
    items$.pipe(
      map((item) => textOf(item)),
      toArray(),
    ),
  );
}

/** The input of a duplex request. */
function inputOf(info: IpcRequest): ItemStream {
  if (info.input$ === undefined) throw new TypeError('Expected a duplex request');
  return info.input$;
}

/** An input that counts its subscriptions and their ends. */
class CountedInput {
  readonly items = new Subject<Uint8Array>();
  subscribed = 0;
  unsubscribed = 0;
  readonly items$ = new Observable<Uint8Array>((subscriber) => {
    this.subscribed++;
    const subscription = this.items.subscribe(subscriber);
    return () => {
      this.unsubscribed++;
      subscription.unsubscribe();
    };
  });
}

export function describeDuplex(transport: TransportUnderTest): void {
  test('what the client streams up, the handler may stream back', async () => {
    const { client } = await withClient(transport, (_id, request, info) => {
      const prefix = textOf(request);
      return inputOf(info).pipe(map((item) => bytesOf(`${prefix} ${textOf(item)}`)));
    });
    const input$ = from(['a', 'b', 'c'].map((text) => bytesOf(text)));
    expect(await texts(client.duplex$(bytesOf('got'), input$))).toEqual(['got a', 'got b', 'got c']);
  });

  test('only duplex requests have an input$', async () => {
    const inputs: boolean[] = [];
    const { client } = await withClient(transport, (_id, request, info) => {
      inputs.push(info.input$ !== undefined);
      return request;
    });
    await client.request(u32(0));
    await lastValueFrom(client.request$(u32(0)));
    await lastValueFrom(client.duplex$(u32(0), of()));
    expect(inputs).toEqual([false, false, true]);
  });

  test('the input is subscribed once the request is sent, and once per subscription', async () => {
    const { client } = await withClient(transport, (_id, _request, info) => inputOf(info));
    const input = new CountedInput();
    const duplex$ = client.duplex$(u32(0), input.items$);
    expect(input.subscribed).toBe(0);
    const received = texts(duplex$);
    await eventually('the input is subscribed', () => input.subscribed === 1);
    input.items.next(bytesOf('x'));
    input.items.complete();
    expect(await received).toEqual(['x']);
    expect(input.subscribed).toBe(1);
  });

  test('the handler sees the end of the input, and may answer after it', async () => {
    const { client } = await withClient(transport, async (_id, _request, info) => {
      let total = 0;
      for await (const item of inputOf(info)) total += item.byteLength;
      return u32(total);
    });
    const sizes = [0, 1, 1000, 0, 50_000, 7];
    const answer = await lastValueFrom(client.duplex$(u32(0), from(sizes.map((size) => new Uint8Array(size)))));
    expect(readU32(answer)).toBe(51_008);
  });

  test('an error of the input reaches the handler after the items before it', async () => {
    const { client } = await withClient(transport, async (_id, _request, info) => {
      const seen: string[] = [];
      try {
        for await (const item of inputOf(info)) seen.push(textOf(item));
      } catch (error) {
        seen.push(`${(error as Error).name}: ${(error as Error).message}`);
      }
      return bytesOf(seen.join(', '));
    });
    const input$ = concat(
      of(bytesOf('one'), bytesOf('two')),
      new Observable<Uint8Array>((s) => s.error(new Error('no more'))),
    );
    expect(await texts(client.duplex$(u32(0), input$))).toEqual(['one, two, RemoteError: no more']);
  });

  test('a handler that takes the input late loses nothing of it', async () => {
    const gate = deferred();
    const { client } = await withClient(transport, async (_id, _request, info) => {
      await gate.promise;
      return inputOf(info);
    });
    const received = texts(client.duplex$(u32(0), from(['a', 'b', 'c'].map((text) => bytesOf(text)))));
    gate.resolve();
    expect(await received).toEqual(['a', 'b', 'c']);
  });

  test('a handler that wants no more input unsubscribes the input of the client', async () => {
    const input = new CountedInput();
    const { client } = await withClient(transport, (_id, _request, info) =>
      inputOf(info).pipe(take(2), endWith(bytesOf('enough'))),
    );
    const received = texts(client.duplex$(u32(0), input.items$));
    await eventually('the input is subscribed', () => input.subscribed === 1);
    for (const text of ['a', 'b']) input.items.next(bytesOf(text));
    expect(await received).toEqual(['a', 'b', 'enough']);
    await eventually('the input is unsubscribed', () => input.unsubscribed === 1);
  });

  test('a handler that leaves its input but goes on answering keeps its answer', async () => {
    const input = new CountedInput();
    const answer = new Subject<Uint8Array>();
    const { client } = await withClient(transport, (_id, _request, info) => {
      inputOf(info).pipe(take(1)).subscribe();
      return answer;
    });
    const received = texts(client.duplex$(u32(0), input.items$));
    await eventually('the input is subscribed', () => input.subscribed === 1);
    input.items.next(bytesOf('a'));
    await eventually('the input is unsubscribed', () => input.unsubscribed === 1);
    answer.next(bytesOf('still'));
    answer.next(bytesOf('here'));
    answer.complete();
    expect(await received).toEqual(['still', 'here']);
  });

  test('an answer that ends first unsubscribes the input of the client', async () => {
    const input = new CountedInput();
    const { client } = await withClient(transport, () => of(bytesOf('done')));
    expect(await texts(client.duplex$(u32(0), input.items$))).toEqual(['done']);
    await eventually('the input is unsubscribed', () => input.unsubscribed === input.subscribed);
    expect(textOf(await lastValueFrom(client.request$(u32(0))))).toBe('done');
  });

  test('unsubscribing on the client unsubscribes its input, and fails the input$ of the handler', async () => {
    const input = new CountedInput();
    const inputErrors: unknown[] = [];
    const { client, server } = await withClient(transport, (_id, _request, info) => {
      inputOf(info).subscribe({ error: (error: unknown) => inputErrors.push(error) });
      return concat(of(bytesOf('first')), NEVER);
    });
    const items: string[] = [];
    const subscription = client.duplex$(u32(0), input.items$).subscribe((item) => items.push(textOf(item)));
    await eventually('the first item', () => items.length === 1);
    subscription.unsubscribe();
    expect(input.unsubscribed).toBe(1);
    await eventually('the input$ fails', () => inputErrors.length === 1);
    expect(inputErrors[0]).toMatchObject({ code: 'ERR_IPC_CANCELLED' });
    await eventually('nothing is open', () => server.stats.openRequests === 0);
  });

  test('a client that leaves fails the input$ of the handler', async () => {
    const inputErrors: unknown[] = [];
    const { client } = await withClient(transport, (_id, _request, info) => {
      inputOf(info).subscribe({ error: (error: unknown) => inputErrors.push(error) });
      return concat(of(bytesOf('first')), NEVER);
    });
    const items: string[] = [];
    const failure = failureOf(client.duplex$(u32(0), NEVER).forEach((item) => items.push(textOf(item))));
    await eventually('the first item', () => items.length === 1);
    await client.close();
    expect(await failure).toMatchObject({ code: 'ERR_IPC_CLOSED' });
    await eventually('the input$ fails', () => inputErrors.length === 1);
    expect(inputErrors[0]).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  });

  test('an input may be taken once: a second subscriber or loop gets a TypeError', async () => {
    const { client } = await withClient(transport, async (_id, _request, info) => {
      const input$ = inputOf(info);
      const first = lastValueFrom(input$.pipe(toArray()));
      const second = await failureOf(lastValueFrom(input$));
      return bytesOf(`${(await first).length} ${(second as Error).name}`);
    });
    expect(await texts(client.duplex$(u32(0), of(u32(1), u32(2))))).toEqual(['2 TypeError']);
  });

  test('duplex$ with something else than an Observable throws a TypeError', async () => {
    const { client } = await withClient(transport, (_id, request) => request);
    const bad: unknown = [u32(1)];
    expect(() => client.duplex$(u32(0), bad as Observable<Uint8Array>)).toThrow(TypeError);
  });

  test('large items go both ways, in order, through small windows', async () => {
    const sizes = [100_000, 1, 30_000, 0, 200_000];
    const { client } = await withClient(
      transport,
      (_id, _request, info) => inputOf(info),
      { windowBytes: 32 * 1024, streamWindowBytes: 16 * 1024 },
      { responseWindowBytes: 32 * 1024, streamWindowBytes: 16 * 1024 },
    );
    const items = await lastValueFrom(
      client.duplex$(u32(0), from(sizes.map((size, i) => pattern(size, i)))).pipe(toArray()),
    );
    expect(items.map((item, i) => sameBytes(item, pattern(sizes[i]!, i)))).toEqual(sizes.map(() => true));
  });

  test('an answer that ends while a large input item is half sent costs that input only', async () => {
    const answers: Array<Subject<Uint8Array>> = [];
    const { client, fixture } = await withClient(
      transport,
      (_id, request, info) => {
        if (info.input$ === undefined) return request;
        const answer = new Subject<Uint8Array>();
        answers.push(answer);
        return answer;
      },
      { windowBytes: 16 * 1024 },
    );
    for (const end of ['complete', 'error'] as const) {
      const input = new CountedInput();
      const outcome = texts(client.duplex$(u32(0), input.items$)).catch(() => 'failed');
      await eventually('the input is subscribed', () => input.subscribed === 1 && answers.length === 1);
      // Hundreds of windows: it is far from sent when the answer ends.
      input.items.next(pattern(5_000_000));
      const answer = answers.shift()!;
      if (end === 'complete') answer.complete();
      else answer.error(new Error('enough'));
      expect(await outcome).toEqual(end === 'complete' ? [] : 'failed');
      for (let i = 0; i < 20; i++) {
        expect(sameBytes(await client.request(pattern(1000, i)), pattern(1000, i))).toBe(true);
      }
    }
    expect(fixture.disconnects()).toEqual([]);
  });

  test('items of an input stay behind their request, while only one-way messages are read', async () => {
    const fixture = await serve(transport);
    const messages: string[] = [];
    fixture.server.messages$.subscribe(({ data }) => messages.push(textOf(data)));
    const client = await fixture.client();
    const received = texts(client.duplex$(u32(0), from(['a', 'b', 'c'].map((text) => bytesOf(text)))));
    await client.send(bytesOf('one-way'));
    await eventually('the message overtakes the requests', () => messages.length === 1);
    fixture.server.respond((_id, _request, info) => inputOf(info));
    expect(await received).toEqual(['a', 'b', 'c']);
  });

  test('the input of a raw client is bounded by its credit: more is a breach of the protocol', async () => {
    const fixture = await serveWith(transport, () => NEVER, { streamWindowBytes: 2048 });
    const raw = await fixture.raw();
    await raw.send(KIND_DUPLEX_REQUEST, 1);
    for (let i = 0; i < 2; i++) await raw.send(KIND_ITEM, 1, new Uint8Array(1024));
    await raw.send(KIND_REQUEST, 2);
    await eventually('both requests came', () => fixture.server.stats.requests === 2);
    expect(fixture.disconnects()).toEqual([]);
    await raw.send(KIND_ITEM, 1, new Uint8Array(0));
    await eventually('it is dropped', () => fixture.disconnects().length === 1);
    expect(fixture.disconnects()[0]).toMatchObject({ reason: 'protocol', error: { code: 'ERR_IPC_PROTOCOL' } });
  });

  test('an input that is 1,024 items ahead of its handler fails with ERR_IPC_OVERLOADED', async () => {
    const { client, server } = await withClient(
      transport,
      async (_id, _request, info) => {
        const failure = await failureOf(take$.promise.then(() => lastValueFrom(inputOf(info).pipe(toArray()))));
        return bytesOf(String((failure as { code?: unknown }).code));
      },
      { streamWindowBytes: 1024 },
    );
    const take$ = deferred();
    const input = new CountedInput();
    const received = texts(client.duplex$(u32(0), input.items$));
    await eventually('the input is subscribed', () => input.subscribed === 1 && server.stats.openRequests === 1);
    input.items.next(new Uint8Array(1024));
    for (let i = 0; i < 1024; i++) input.items.next(u32(i));
    expect(input.unsubscribed).toBe(0);
    input.items.next(u32(1024));
    expect(input.unsubscribed).toBe(1);
    take$.resolve();
    expect(await received).toEqual(['ERR_IPC_OVERLOADED']);
  });

  test('a handler that iterates its input slowly holds the client back by credit, and loses nothing', async () => {
    const taken: number[] = [];
    const gate = deferred();
    const { client } = await withClient(
      transport,
      async (_id, _request, info) => {
        for await (const item of inputOf(info)) {
          if (taken.push(item.byteLength) === 3) await gate.promise;
        }
        return u32(taken.length);
      },
      { streamWindowBytes: 2048 },
    );
    const answer = lastValueFrom(client.duplex$(u32(0), from(Array.from({ length: 200 }, () => new Uint8Array(512)))));
    await eventually('three are taken', () => taken.length === 3);
    gate.resolve();
    expect(readU32(await answer)).toBe(200);
  });

  test('a handler that leaves its input tells a raw client with a cancel', async () => {
    const fixture = await serveWith(transport, (_id, _request, info) => {
      inputOf(info).pipe(take(1)).subscribe();
      return NEVER;
    });
    const raw = await fixture.raw();
    await raw.send(KIND_DUPLEX_REQUEST, 1);
    await raw.send(KIND_ITEM, 1, u32(1));
    await eventually('the cancel', () => raw.ofKind(KIND_CANCEL, 1).length === 1);
    // What was on its way is not a breach.
    for (let i = 0; i < 10; i++) await raw.send(KIND_ITEM, 1, u32(i));
    raw.cancel(1);
    await raw.untilEnded(1);
    expect(raw.errorCode(1)).toBe('ERR_IPC_CANCELLED');
    expect(fixture.disconnects()).toEqual([]);
  });
}
