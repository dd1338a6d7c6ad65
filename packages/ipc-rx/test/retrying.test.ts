import { IpcError, type Bytes, type ClientState } from '@spanwire/ipc-core';
import { requestEach, resendRefused, retryOnReconnect, serve } from '@spanwire/ipc-rx';
import { defer, firstValueFrom, of, type MonoTypeOperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { ServerProcess } from './support/server-process.ts';
import { betweenProcesses, temporaryFolder, transports } from './support/transports.ts';

const refused = new IpcError('ERR_IPC_REFUSED', 'never started');
const gone = new IpcError('ERR_IPC_PEER_GONE', 'the server left');

describe('resendRefused, in marbles', () => {
  it('sends again after each delay, and passes the error after the last', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const request = cold('-#', undefined, refused);
      expectObservable(request.pipe(resendRefused({ delaysMs: [2, 4] }))).toBe('---------#', undefined, refused);
      expectSubscriptions(request.subscriptions).toBe(['^!', '---^!', '--------^!']);
    });
  });

  it('passes any other error, and what succeeds', () => {
    marbles(({ cold, expectObservable }) => {
      expectObservable(cold('-a-#', undefined, gone).pipe(resendRefused())).toBe('-a-#', undefined, gone);
      expectObservable(cold('-a-|').pipe(resendRefused())).toBe('-a-|');
    });
  });

  it('ends the wait when it is left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const request = cold('-#', undefined, refused);
      expectObservable(request.pipe(resendRefused({ delaysMs: [5] })), '---!').toBe('----');
      expectSubscriptions(request.subscriptions).toBe('^!');
    });
  });
});

describe('retryOnReconnect, in marbles', () => {
  it('sends again when the client is connected again, up to its attempts', () => {
    marbles(({ cold, hot, expectObservable, expectSubscriptions }) => {
      const state$ = hot<ClientState>('r--c-----', { r: 'reconnecting', c: 'connected' });
      const request = cold('-#', undefined, gone);
      const result$ = request.pipe(retryOnReconnect({ state$ } as never, { idempotent: true, attempts: 1 }));
      expectObservable(result$).toBe('----#', undefined, gone);
      expectSubscriptions(request.subscriptions).toBe(['^!', '---^!']);
    });
  });

  it('passes the error when the client closes, and any other error', () => {
    marbles(({ cold, hot, expectObservable, expectSubscriptions }) => {
      const state$ = hot<ClientState>('r--x', { r: 'reconnecting', x: 'closed' });
      const client = { state$ } as never;
      const lost = cold('-#', undefined, gone);
      expectObservable(lost.pipe(retryOnReconnect(client, { idempotent: true }))).toBe('---#', undefined, gone);
      expectObservable(lost.pipe(retryOnReconnect(client, { idempotent: true })), '--!').toBe('---');
      const other = cold('-#', undefined, refused);
      expectObservable(other.pipe(retryOnReconnect(client, { idempotent: true }))).toBe('-#', undefined, refused);
      expectSubscriptions(state$.subscriptions).toBe(['-^-!', '-^!']);
    });
  });
});

it('both keep the type of what they repeat, and refuse bad arguments at once', () => {
  expectTypeOf(resendRefused<Bytes>()).toEqualTypeOf<MonoTypeOperatorFunction<Bytes>>();
  expectTypeOf(retryOnReconnect<Bytes>)
    .parameter(1)
    .toHaveProperty('idempotent')
    .toEqualTypeOf<true>();
  refuses(() => resendRefused({ delaysMs: 10 as never }));
  refuses(() => resendRefused({ delaysMs: [-1] }), RangeError);
  refuses(() => retryOnReconnect({} as never, {} as never));
  refuses(() => retryOnReconnect({} as never, { idempotent: false } as never));
  refuses(() => retryOnReconnect({} as never, { idempotent: true, attempts: 0 }), RangeError);
});

describe.each(transports)('resendRefused over $name', ({ open }) => {
  it('sends what a draining server refused to the next one, and nothing twice', async () => {
    await using scene = await open();
    const client = await scene.connect({ reconnect: { delaysMs: [1] } });
    const started = new Log<string>();
    let finish: (() => void) | undefined;
    serve(scene.server, (_clientId, request) => {
      started.add(`old ${text(request)}`);
      return new Promise((resolve) => (finish = () => resolve(request)));
    });
    const resent = (question: string): Promise<Bytes> =>
      firstValueFrom(defer(() => client.request(bytes(question))).pipe(resendRefused()));
    const running = resent('running');
    await started.reaches(1);
    scene.server.requestShutdown();
    const next = resent('next');
    finish?.();
    expect(text(await running)).toBe('running');
    await scene.server.closed;
    const successor = await scene.replaceServer();
    serve(successor, (_clientId, request) => {
      started.add(`new ${text(request)}`);
      return request;
    });
    expect(text(await next)).toBe('next');
    expect(started.entries).toEqual(['old running', 'new next']);
  });
});

describe.each(betweenProcesses)('retryOnReconnect over $name', ({ module, factory, address, client: makeClient }) => {
  it('repeats with the next server what was on its way when the server was killed', async () => {
    await using folder = await temporaryFolder();
    const at = address(folder.path);
    await using first = new ServerProcess(module, factory, at, 'first');
    await first.said.reaches(1);
    await using client = makeClient(at, { reconnect: { delaysMs: [5] } });
    await client.connect();
    const idempotent = retryOnReconnect<Bytes>(client, { idempotent: true });
    const marked = Promise.all([
      firstValueFrom(client.request$(bytes('hang in first, a stream')).pipe(idempotent)),
      firstValueFrom(of(bytes('hang in first, a reply')).pipe(requestEach(client, { each: idempotent }))),
    ]);
    const unmarked = client.request(bytes('hang in first, unmarked')).catch((error: unknown) => error);
    await first.said.reaches(4);
    await first.kill();
    expect(await unmarked).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    await using second = new ServerProcess(module, factory, at, 'second');
    expect((await marked).map(text)).toEqual([
      'hang in first, a stream from second',
      'hang in first, a reply from second',
    ]);
    // What it says comes another way than its answers.
    await second.said.reaches(3);
    expect(second.said.entries.filter(({ started }) => started !== undefined)).toHaveLength(2);
  });
});
