import { of, Subject } from 'rxjs';
import { expect, test } from 'vitest';
import { answer } from '../src/answer.ts';
import type { Bytes, Handler, IpcRequest, IpcResponse } from '../src/contract.ts';
import { deferred, type Deferred } from '../src/testing/eventually.ts';
import { bytesOf, u32 } from '../src/testing/payloads.ts';

/** A request as an operator sees it. */
function request(requestId: number, aborted = false): IpcRequest {
  const controller = new AbortController();
  if (aborted) controller.abort();
  return {
    clientId: 1,
    requestId,
    span: u32(requestId),
    release: () => undefined,
    respond: () => true,
    claim: () => undefined,
    signal: controller.signal,
    metadata: undefined,
    deadlineMs: undefined,
    input$: undefined,
  };
}

interface Running {
  readonly requests: Subject<IpcRequest>;
  readonly answers: IpcResponse[];
  readonly ends: unknown[];
  readonly started: number[];
  readonly gates: Map<number, Deferred<Bytes>>;
  readonly unsubscribe: () => void;
}

/** The operator with handlers that wait for their gates. */
function running(options: Parameters<typeof answer>[1], handler?: Handler): Running {
  const requests = new Subject<IpcRequest>();
  const answers: IpcResponse[] = [];
  const ends: unknown[] = [];
  const started: number[] = [];
  const gates = new Map<number, Deferred<Bytes>>();
  const subscription = requests
    .pipe(
      answer(
        handler ??
          ((_clientId, _bytes, info) => {
            started.push(info.requestId);
            const gate = deferred<Bytes>();
            gates.set(info.requestId, gate);
            return gate.promise;
          }),
        options,
      ),
    )
    .subscribe({
      next: (response) => answers.push(response),
      error: (error: unknown) => ends.push(error),
      complete: () => ends.push('complete'),
    });
  return { requests, answers, ends, started, gates, unsubscribe: () => subscription.unsubscribe() };
}

async function microtasks(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

test('it completes once the requests have, and the last handler is done', async () => {
  const { requests, answers, ends, gates } = running({});
  requests.next(request(1));
  requests.next(request(2));
  requests.complete();
  gates.get(2)!.resolve(bytesOf('two'));
  await microtasks();
  expect(ends).toEqual([]);
  gates.get(1)!.resolve(bytesOf('one'));
  await microtasks();
  expect(answers.map(({ requestId }) => requestId)).toEqual([2, 1]);
  expect(ends).toEqual(['complete']);
});

test('requests that wait when the source completes are still handled', async () => {
  const { requests, answers, ends, started, gates } = running({ concurrency: 1 });
  for (const id of [1, 2, 3]) requests.next(request(id));
  requests.complete();
  for (const id of [1, 2, 3]) {
    expect(started.at(-1)).toBe(id);
    gates.get(id)!.resolve(u32(id));
    await microtasks();
  }
  expect(answers.map(({ requestId }) => requestId)).toEqual([1, 2, 3]);
  expect(ends).toEqual(['complete']);
});

test('an error of the source passes through', () => {
  const { requests, ends } = running({});
  const error = new Error('broken');
  requests.error(error);
  expect(ends).toEqual([error]);
});

test('after an unsubscribe running handlers finish for nobody', async () => {
  const { requests, answers, started, gates, unsubscribe } = running({ concurrency: 1 });
  requests.next(request(1));
  requests.next(request(2));
  unsubscribe();
  expect(requests.observed).toBe(false);
  gates.get(1)!.resolve(u32(1));
  await microtasks();
  expect(answers).toEqual([]);
  expect(started.length).toBeLessThanOrEqual(2);
});

test('in order of requests, synchronous answers wait for the asynchronous ones before them', async () => {
  const gate = deferred<Bytes>();
  const { requests, answers } = running({ order: 'request' }, (_clientId, _bytes, info) => {
    if (info.requestId === 1) return gate.promise;
    if (info.requestId === 3) throw new Error('three');
    return info.requestId === 4 ? of(u32(4)) : u32(info.requestId);
  });
  for (const id of [1, 2, 3, 4, 5]) requests.next(request(id));
  expect(answers).toEqual([]);
  gate.resolve(u32(1));
  await microtasks();
  expect(answers.map(({ requestId }) => requestId)).toEqual([1, 2, 3, 4, 5]);
  expect(answers[2]).toHaveProperty('error.message', 'three');
  expect(answers[3]).toHaveProperty('items');
  requests.next(request(6));
  expect(answers.length).toBe(6);
});

test('in order of completion, synchronous answers do not wait', () => {
  const { requests, answers } = running({}, (_clientId, _bytes, info) =>
    info.requestId === 1 ? new Promise(() => undefined) : u32(info.requestId),
  );
  for (const id of [1, 2, 3]) requests.next(request(id));
  expect(answers.map(({ requestId }) => requestId)).toEqual([2, 3]);
});

test('what waits and is aborted is answered with nothing, and its handler never runs', async () => {
  const { requests, answers, started, gates } = running({ concurrency: 1 });
  requests.next(request(1));
  requests.next(request(2, true));
  requests.next(request(3));
  gates.get(1)!.resolve(u32(1));
  await microtasks();
  expect(started).toEqual([1, 3]);
  expect(answers.map(({ requestId }) => requestId)).toEqual([1, 2]);
  expect(answers[1]).toEqual({ clientId: 1, requestId: 2 });
});

test('a thousand waiting requests whose handlers answer at once do not nest', async () => {
  let first: Deferred<Bytes> | undefined;
  const { requests, answers } = running({ concurrency: 1 }, (_clientId, bytes) => {
    if (first !== undefined) return bytes;
    first = deferred<Bytes>();
    return first.promise;
  });
  for (let id = 1; id <= 20_000; id++) requests.next(request(id));
  first!.resolve(u32(0));
  await microtasks();
  expect(answers.length).toBe(20_000);
});

test('anything that is thrown becomes the error of the answer, undefined as well', async () => {
  const values: unknown[] = [undefined, null, 0, '', false, Symbol('s')];
  const { requests, answers } = running({}, (_clientId, _bytes, info) => {
    const value = values[info.requestId % values.length];
    if (info.requestId < values.length) throw value;
    return Promise.reject(value);
  });
  for (let id = 0; id < 2 * values.length; id++) requests.next(request(id));
  await microtasks();
  expect(answers.length).toBe(2 * values.length);
  for (const response of answers) expect(response.error).not.toBeUndefined();
});

test('bad handlers and options are refused when the operator is made', () => {
  const bad: unknown = 'no function';
  expect(() => answer(bad as Handler)).toThrow(TypeError);
  for (const concurrency of [0, -1, 1.5, Number.NaN]) {
    expect(() => answer(() => undefined, { concurrency })).toThrow(RangeError);
  }
  expect(() => answer(() => undefined, { order: 'random' as 'request' })).toThrow(TypeError);
});
