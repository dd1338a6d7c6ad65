import { setImmediate as turn } from 'node:timers/promises';
import {
  command,
  commandClient,
  createCommandServer,
  defineCommands,
  streamCommand,
  unchecked,
} from '@spanwire/ipc-command';
import { createMemoryClient, createMemoryServer, IpcError, RemoteError, ShutdownRequested } from '@spanwire/ipc-core';
import { Subject } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { until } from './support/until.ts';

const small = defineCommands({
  add: command({ request: z.object({ a: z.number(), b: z.number() }), response: z.number() }),
  push: command({ request: z.number(), response: z.number() }),
});
type Small = (typeof small)['definitions'];

/** A lazy server and two clients in this process, where nothing moves unless somebody waits. */
async function setUp(handlers: Partial<Parameters<typeof createCommandServer<Small, number[]>>[1]> = {}) {
  const name = `lazy ${Math.random()}`;
  const ipc = createMemoryServer(name);
  await ipc.listen();
  const server = await createCommandServer<Small, number[]>(
    small,
    { add: ({ a, b }) => a + b, push: (x, stack) => stack.push(x), ...handlers },
    { server: ipc },
  );
  const [first, second] = [1, 2].map(() => commandClient(small, createMemoryClient(name)));
  await first!.connect();
  await second!.connect();
  onTestFinished(async () => {
    await first!.close();
    await second!.close();
    await server.close();
  });
  return { server, first: first!, second: second! };
}

describe('a lazy server', () => {
  it('runs nothing until it is told to, and then everything that waits', async () => {
    const { server, first, second } = await setUp();
    const stack: number[] = [];
    const answers = Promise.all([first.push(1), first.push(2), second.push(3)]);
    await until(
      () => server.pendingCount,
      (count) => count === 3,
    );
    // Many turns of the event loop, in any of which something could run.
    for (let turns = 0; turns < 100; turns++) await turn();
    expect(stack).toEqual([]);
    expect(server.pendingCount).toBe(3);
    expect(server.handleNewMessagesSync(stack)).toBe(3);
    expect(stack).toEqual([1, 3, 2]);
    expect(server.pendingCount).toBe(0);
    expect(server.handleNewMessagesSync(stack)).toBe(0);
    expect(await answers).toEqual([1, 3, 2]);
  });

  it('gives every call the context of that call', async () => {
    const { server, first } = await setUp();
    const stacks: number[][] = [[], []];
    for (const stack of stacks) {
      const answer = first.push(7);
      await until(
        () => server.handleNewMessages(stack),
        (handled) => handled === 1,
      );
      expect(await answer).toBe(1);
    }
    expect(stacks).toEqual([[7], [7]]);
  });

  it('awaits one command before it starts the next', async () => {
    const running: string[] = [];
    const { server, first } = await setUp({
      push: async (x) => {
        running.push(`starts ${x}`);
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
        running.push(`ends ${x}`);
        return x;
      },
    });
    const answers = Promise.all([first.push(1), first.push(2)]);
    expect(await server.handleNewMessages([])).toBe(2);
    expect(running).toEqual(['starts 1', 'ends 1', 'starts 2', 'ends 2']);
    expect(await answers).toEqual([1, 2]);
  });

  it('leaves what arrives while it works to the next call', async () => {
    const asked: Array<Promise<number>> = [];
    const { server, first } = await setUp({
      push: async (x) => {
        // A client that asks again before each answer would never be done.
        if (asked.length < 5) asked.push(first.push(x + 1));
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
        return x;
      },
    });
    asked.push(first.push(1));
    expect(await server.handleNewMessages([])).toBe(1);
    expect(await server.handleNewMessages([])).toBe(1);
    expect(await asked[0]).toBe(1);
    expect(await asked[1]).toBe(2);
    // The third waits for a call that never comes.
    asked[2]?.catch(() => undefined);
  });

  it('takes clients in turn, and goes on after the one it served last', async () => {
    const { server, first, second } = await setUp();
    const answers = Promise.all([...[1, 2, 3].map((x) => first.push(x)), ...[10, 20, 30].map((x) => second.push(x))]);
    await until(
      () => server.pendingCount,
      (count) => count === 6,
    );
    const stack: number[] = [];
    const handled = [1, 2, 3].map((maxMessages) => server.handleNewMessagesSync(stack, { maxMessages }));
    expect(handled).toEqual([1, 2, 3]);
    expect(stack).toEqual([1, 10, 2, 20, 3, 30]);
    await answers;
  });

  it('starts no command after its budget, and at least one', async () => {
    const { server, first } = await setUp();
    const answers = Promise.all([1, 2, 3].map((x) => first.push(x)));
    await until(
      () => server.pendingCount,
      (count) => count === 3,
    );
    const stack: number[] = [];
    expect(server.handleNewMessagesSync(stack, { budgetMs: 0 })).toBe(1);
    expect(server.pendingCount).toBe(2);
    expect(await server.handleNewMessages(stack, { budgetMs: 60_000 })).toBe(2);
    await answers;
  });

  it('refuses limits that are none', async () => {
    const { server } = await setUp();
    expect(() => server.handleNewMessagesSync([], { budgetMs: -1 })).toThrow(RangeError);
    expect(() => server.handleNewMessagesSync([], { maxMessages: 0 })).toThrow(RangeError);
    await expect(server.handleNewMessages([], { maxMessages: 1.5 })).rejects.toThrow(RangeError);
  });

  it('does not start a call while another runs', async () => {
    const { server, first } = await setUp();
    const answer = first.push(1);
    const handling = server.handleNewMessages([]);
    expect(() => server.handleNewMessagesSync([])).toThrow('one call of handleNewMessages at a time');
    await expect(server.handleNewMessages([])).rejects.toThrow(TypeError);
    expect(await handling).toBe(1);
    await answer;
    expect(server.handleNewMessagesSync([])).toBe(0);
  });

  it('throws from a synchronous call whose handler is not synchronous, and tells the client', async () => {
    const { server, first } = await setUp({ push: async (x) => Promise.resolve(x) });
    const bad = first.push(1);
    const good = first.add({ a: 1, b: 2 });
    await until(
      () => server.pendingCount,
      (count) => count === 2,
    );
    expect(() => server.handleNewMessagesSync([])).toThrow('use handleNewMessages');
    await expect(bad).rejects.toThrow(RemoteError);
    expect(server.handleNewMessagesSync([])).toBe(1);
    expect(await good).toBe(3);
  });

  it('drops what a client gave up, and what a client left behind', async () => {
    const { server, first, second } = await setUp();
    const leaving = AbortSignal.abort(new Error('changed my mind'));
    await expect(first.push(1, { signal: leaving })).rejects.toThrow('changed my mind');
    const given = new AbortController();
    const abandoned = first.push(2, { signal: given.signal });
    const left = second.push(3);
    const kept = first.push(4);
    await until(
      () => server.pendingCount,
      (count) => count === 3,
    );
    given.abort(new Error('too late'));
    await expect(abandoned).rejects.toThrow('too late');
    const failure = left.catch((reason: unknown) => reason);
    await second.close();
    expect(await failure).toBeInstanceOf(IpcError);
    const stack: number[] = [];
    expect(await server.handleNewMessages(stack)).toBe(1);
    expect(stack).toEqual([4]);
    expect(await kept).toBe(1);
  });

  it('goes on with the others when a handler throws, even undefined', async () => {
    let throws: unknown;
    const { server, first } = await setUp({
      push: () => {
        throw throws;
      },
    });
    for (throws of [new RangeError('too many'), undefined]) {
      const bad = first.push(1);
      const good = first.add({ a: 1, b: 1 });
      bad.catch(() => undefined);
      await until(
        () => server.pendingCount,
        (count) => count === 2,
      );
      expect(server.handleNewMessagesSync([])).toBe(2);
      await expect(bad).rejects.toThrow(throws === undefined ? 'threw undefined' : 'too many');
      expect(await good).toBe(2);
    }
  });

  it('shuts down when a handler asks for it', async () => {
    const { server, first } = await setUp({
      push: () => {
        throw new ShutdownRequested();
      },
    });
    const bye = first.push(1);
    bye.catch(() => undefined);
    expect(await server.handleNewMessages([])).toBe(1);
    await expect(bye).rejects.toThrow('no answer');
    await server.ipc.closed;
    expect(server.handleNewMessagesSync([])).toBe(0);
  });

  it('sends the items of a stream when their source emits them', async () => {
    const definition = defineCommands({ watch: streamCommand({ response: unchecked<string>() }) });
    const ipc = createMemoryServer('lazy stream');
    await ipc.listen();
    const source = new Subject<string>();
    const server = await createCommandServer(definition, { watch: () => source }, { server: ipc });
    const client = commandClient(definition, createMemoryClient('lazy stream'));
    const seen: string[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      client.watch().subscribe({ next: (item) => seen.push(item), error: reject, complete: resolve });
    });
    await until(
      () => server.handleNewMessages(),
      (handled) => handled === 1,
    );
    source.next('one');
    source.next('two');
    source.complete();
    await ended;
    expect(seen).toEqual(['one', 'two']);
    await client.close();
    await server.close();
  });

  it('needs one handler for each command, and no other', async () => {
    const ipc = createMemoryServer('handlers');
    const incomplete = { add: () => 1 } as never;
    await expect(createCommandServer(small, incomplete, { server: ipc })).rejects.toThrow(
      'handler of the command "push"',
    );
    const stray = { add: () => 1, push: () => 1, pop: () => 1 } as never;
    await expect(createCommandServer(small, stray, { server: ipc })).rejects.toThrow('"pop", which is none');
    await expect(createCommandServer(small, undefined as never, { server: ipc })).rejects.toThrow(
      'Expected `handlers`',
    );
    await expect(createCommandServer(small, stray, undefined as never)).rejects.toThrow('Expected `options` to have');
  });
});
