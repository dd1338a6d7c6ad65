import {
  command,
  commandClient,
  commands$,
  defineCommands,
  serveCommands,
  streamCommand,
  UnknownCommandError,
  type CommandCall,
} from '@spanwire/ipc-command';
import { createMemoryClient, createMemoryServer } from '@spanwire/ipc-core';
import { createShmClient, createShmServer } from '@spanwire/ipc-shm-native';
import { bufferCount, filter, firstValueFrom, interval, lastValueFrom, map, range, take, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { addressOn } from './support/place.ts';
import { until } from './support/until.ts';

const commands = defineCommands({
  add: command({ request: z.object({ a: z.number(), b: z.number() }), response: z.number() }),
  push: command({ request: z.number(), response: z.number() }),
  count: streamCommand({ request: z.number(), response: z.number() }),
});
type Definitions = (typeof commands)['definitions'];

async function setUp() {
  const name = `reactive ${Math.random()}`;
  const server = createMemoryServer(name);
  const ipc = createMemoryClient(name, { hello: commands.hello });
  const client = commandClient(commands, ipc);
  onTestFinished(async () => {
    await client.close();
    await server.close();
  });
  await server.listen();
  return { server, client, ipc };
}

describe('serveCommands', () => {
  it('runs commands as they come, at once, with one context', async () => {
    const { server, client } = await setUp();
    let release = (): void => undefined;
    const stack: number[] = [];
    serveCommands(
      server,
      commands,
      {
        add: ({ a, b }) => new Promise((resolve) => (release = () => resolve(a + b))),
        push: (x, stack) => stack.push(x),
        async *count(upTo) {
          for (let i = 1; i <= upTo; i++) yield i;
        },
      },
      stack,
    );
    const slow = client.add({ a: 1, b: 2 });
    expect(await client.push(5)).toBe(1);
    expect(await client.push(6)).toBe(2);
    release();
    expect(await slow).toBe(3);
    expect(stack).toEqual([5, 6]);
    expect(await lastValueFrom(client.count(4).pipe(toArray()))).toEqual([1, 2, 3, 4]);
  });

  it('runs them one at a time when told so', async () => {
    const { server, client } = await setUp();
    let running = 0;
    let most = 0;
    const handlers = {
      add: () => 0,
      push: async (x: number) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
        running--;
        return x;
      },
      count: () => interval(1),
    };
    serveCommands(server, commands, handlers, undefined, { concurrency: 1 });
    expect(await Promise.all([1, 2, 3].map((x) => client.push(x)))).toEqual([1, 2, 3]);
    expect(most).toBe(1);
  });

  it('tells handlers who asks, and when the asking ends', async () => {
    const { server, client } = await setUp();
    const infos: unknown[] = [];
    const controller = new AbortController();
    let onAborted = (): void => undefined;
    const aborted = new Promise<void>((resolve) => (onAborted = resolve));
    serveCommands(
      server,
      commands,
      {
        add: (_payload, _context, { command, clientId, metadata, deadlineMs }) => {
          infos.push(command, clientId, metadata?.get('trace'), deadlineMs !== undefined && deadlineMs <= 60_000);
          return 0;
        },
        push: (_payload, _context, { signal }) => {
          signal.addEventListener('abort', () => onAborted());
          controller.abort(new Error('enough'));
          return new Promise(() => undefined);
        },
        count: () => interval(1),
      },
      undefined,
    );
    await client.add({ a: 1, b: 1 }, { metadata: new Map([['trace', 't1']]), timeoutMs: 60_000 });
    expect(infos).toEqual(['add', 1, 't1', true]);
    const cancelled = client.push(1, { signal: controller.signal });
    await expect(cancelled).rejects.toThrow('enough');
    await aborted;
  });

  it('stops with its subscription', async () => {
    const { server, client } = await setUp();
    const handlers = { add: () => 0, push: (x: number) => x, count: () => interval(1) };
    const subscription = serveCommands(server, commands, handlers, undefined);
    expect(await client.push(1)).toBe(1);
    subscription.unsubscribe();
    const later = client.push(2);
    serveCommands(server, commands, { ...handlers, push: (x) => x * 10 }, undefined);
    expect(await later).toBe(20);
  });

  it('still answers what it has taken when its subscription ends, and takes no more', async () => {
    const { server, client } = await setUp();
    const running: Array<() => void> = [];
    const handlers = {
      add: () => 0,
      push: (x: number) => new Promise<number>((resolve) => running.push(() => resolve(x))),
      count: () => interval(1),
    };
    const subscription = serveCommands(server, commands, handlers, undefined, { concurrency: 1 });
    const taken = Promise.all([client.push(1), client.push(2)]);
    await until(
      () => server.stats.openRequests,
      (open) => open === 2,
    );
    subscription.unsubscribe();
    const later = client.push(3);
    for (let i = 0; i < 2; i++) {
      await until(
        () => running.length,
        (length) => length > i,
      );
      running[i]?.();
    }
    expect(await taken).toEqual([1, 2]);
    expect(running).toHaveLength(2);
    serveCommands(server, commands, { ...handlers, push: (x) => x * 10 }, undefined);
    expect(await later).toBe(30);
  });

  it('is over with its server', async () => {
    const { server, client } = await setUp();
    const handlers = { add: () => 0, push: (x: number) => x, count: () => interval(1) };
    const subscription = serveCommands(server, commands, handlers, undefined);
    expect(await client.push(1)).toBe(1);
    server.requestShutdown();
    await server.closed;
    expect(subscription.closed).toBe(true);
  });

  it('ends a stream on the server when the client has enough', async () => {
    const { server, client } = await setUp();
    let ended = (): void => undefined;
    const stopped = new Promise<void>((resolve) => (ended = resolve));
    serveCommands(
      server,
      commands,
      {
        add: () => 0,
        push: (x) => x,
        async *count() {
          try {
            for (let i = 0; ; i++) yield i;
          } finally {
            ended();
          }
        },
      },
      undefined,
    );
    expect(await lastValueFrom(client.count(0).pipe(take(3), toArray()))).toEqual([0, 1, 2]);
    await stopped;
  });
});

describe('commands$', () => {
  it('gives one Observable per command, for operators to work on', async () => {
    const { server, client } = await setUp();
    const { add, push, count } = commands$(server, commands);
    add.pipe(filter(({ payload }) => payload.a > 0)).subscribe(({ payload: { a, b }, respond }) => respond(a + b));
    push.pipe(bufferCount(3)).subscribe((calls) => {
      const sum = calls.reduce((total, { payload }) => total + payload, 0);
      for (const call of calls) call.respond(sum);
    });
    count.subscribe(({ payload, respond }) =>
      respond(
        interval(1).pipe(
          take(payload),
          map((i) => i * i),
        ),
      ),
    );
    expect(await client.add({ a: 2, b: 3 })).toBe(5);
    expect(await Promise.all([1, 2, 3].map((x) => client.push(x)))).toEqual([6, 6, 6]);
    expect(await lastValueFrom(client.count(4).pipe(toArray()))).toEqual([0, 1, 4, 9]);
  });

  it('misses nothing that waited before the subscriptions', async () => {
    const { server, client } = await setUp();
    const early = Promise.all([client.add({ a: 1, b: 1 }), client.push(7)]);
    await client.connect();
    const streams = commands$(server, commands);
    streams.add.subscribe(({ respond }) => respond(2));
    streams.push.subscribe(({ payload, respond }) => respond(payload));
    expect(await early).toEqual([2, 7]);
  });

  it('refuses commands that nobody subscribes to, and answers with the first answer', async () => {
    const { server, client } = await setUp();
    const { add } = commands$(server, commands);
    const calls: Array<CommandCall<Definitions['add']>> = [];
    add.subscribe((call) => call.respond(1));
    add.subscribe((call) => {
      calls.push(call);
      call.respond(2);
      call.fail(new Error('late'));
    });
    expect(await client.add({ a: 0, b: 0 })).toBe(1);
    expect(calls.map(({ command, clientId }) => [command, clientId])).toEqual([['add', 1]]);
    await expect(client.push(1)).rejects.toThrow(UnknownCommandError);
  });

  it('fails a call when its subscriber says so', async () => {
    const { server, client } = await setUp();
    commands$(server, commands).add.subscribe((call) => call.fail(new RangeError('no')));
    await expect(client.add({ a: 0, b: 0 })).rejects.toMatchObject({ remote: { name: 'RangeError', message: 'no' } });
  });

  it('stops reading with the last subscription, and starts again with the next', async () => {
    const { server, client } = await setUp();
    const { push } = commands$(server, commands);
    const first = push.subscribe(({ respond }) => respond(1));
    expect(await client.push(0)).toBe(1);
    first.unsubscribe();
    const waits = client.push(0);
    push.subscribe(({ respond }) => respond(2));
    expect(await waits).toBe(2);
  });

  it('lets a call that was delivered be answered after its last subscription', async () => {
    const { server, client } = await setUp();
    const { push } = commands$(server, commands);
    const delivered = firstValueFrom(push);
    const answer = client.push(5);
    // firstValueFrom has left by now.
    const { payload, respond } = await delivered;
    respond(payload * 2);
    expect(await answer).toBe(10);
    expect(server.stats.openRequests).toBe(0);
  });

  it('completes with the server', async () => {
    const { server } = await setUp();
    const ended = lastValueFrom(commands$(server, commands).add.pipe(toArray()));
    await Promise.resolve();
    await server.close();
    expect(await ended).toEqual([]);
  });
});

describe.runIf(process.platform === 'linux')('commands$ of a server over shared memory', () => {
  it('serves calls and streams as over any other', async () => {
    const address = addressOn('shm');
    const server = createShmServer(address);
    const { push, count } = commands$(server, commands);
    push.pipe(bufferCount(2)).subscribe((calls) => {
      for (const { payload, respond } of calls) respond(payload * 10);
    });
    count.subscribe(({ payload, respond }) => respond(range(payload)));
    await server.listen();
    const client = commandClient(commands, createShmClient(address, { hello: commands.hello }));
    onTestFinished(async () => {
      await client.close();
      await server.close();
    });
    expect(await Promise.all([client.push(1), client.push(2)])).toEqual([10, 20]);
    expect(await lastValueFrom(client.count(3).pipe(toArray()))).toEqual([0, 1, 2]);
  });
});
