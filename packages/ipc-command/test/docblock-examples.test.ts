/** The examples in the docblocks, as a compiler and a server see them. */
/* oxlint-disable no-console -- examples print */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  clientSend,
  command,
  commandClient,
  commands$,
  createCommandClient,
  createCommandServer,
  defineCommands,
  serveCommands,
  streamCommand,
  unchecked,
  type CommandHandlers,
} from '@spanwire/ipc-command';
import { createMemoryClient, createMemoryServer } from '@spanwire/ipc-core';
import { createSocketServer } from '@spanwire/ipc-socket';
import { bufferCount, interval, range, take } from 'rxjs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { z } from 'zod';
import { socketPath } from './support/place.ts';
import { until } from './support/until.ts';

const addition = command({
  request: z.object({ a: z.number(), b: z.number() }),
  response: z.object({ sum: z.number() }),
});
const pushing = command({ request: z.object({ x: z.number() }), response: z.object({ length: z.number() }) });

/** Serves for one test, on the socket of the examples. */
async function serve<C extends Parameters<typeof defineCommands>[0]>(
  commands: ReturnType<typeof defineCommands<C>>,
  handlers: CommandHandlers<C, undefined>,
): Promise<string> {
  const address = socketPath();
  const server = createSocketServer(address);
  serveCommands(server, commands, handlers, undefined);
  await server.listen();
  onTestFinished(() => server.close());
  return address;
}

test('every example is in this file, word by word', () => {
  const sources = fileURLToPath(new URL('../src/', import.meta.url));
  const own = compact(readFileSync(fileURLToPath(import.meta.url), 'utf8'));
  const examples = readdirSync(sources, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) =>
      [...readFileSync(sources + file, 'utf8').matchAll(/@example\n((?: *\*(?!\/).*\n)+)/g)].map(
        ([, example = '']) => ({
          file,
          example: compact(
            example.replaceAll(/^ *\* ?/gm, '').replaceAll("'unix:/run/user/1000/stack.sock'", 'stack_sock'),
          ),
        }),
      ),
    );
  expect(examples.length).toBeGreaterThanOrEqual(13);
  expect(examples.filter(({ example }) => !own.includes(example))).toEqual([]);
});

test('command, streamCommand, defineCommands and unchecked', () => {
  const one = [
    command({ request: z.object({ a: z.number(), b: z.number() }), response: z.object({ sum: z.number() }) }),
    streamCommand({ request: z.object({ everyMs: z.number() }), response: z.object({ heapBytes: z.number() }) }),
  ];
  expect(one.map(({ kind }) => kind)).toEqual(['call', 'stream']);
  {
    const commands = defineCommands({
      add: command({ request: z.object({ a: z.number(), b: z.number() }), response: z.number() }),
      ticks: streamCommand({ response: z.number() }),
    });
    expect(Object.keys(commands.definitions)).toEqual(['add', 'ticks']);
  }
  const commands = defineCommands({ add: command({ request: unchecked<{ a: number; b: number }>() }) });
  expect(commands.definitions.add.requestJsonSchema).toBeUndefined();
});

test('clientSend, createCommandClient and CommandStream', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  const commands = defineCommands({ add: addition, ticks: streamCommand({ response: z.number() }) });
  const stack_sock = await serve(commands, { add: ({ a, b }) => ({ sum: a + b }), ticks: () => range(5) });
  {
    const { sum } = await clientSend(commands, 'add', { a: 5, b: 3 }, stack_sock);
    expect(sum).toBe(8);
  }
  {
    await using client = createCommandClient(commands, stack_sock);
    const { sum } = await client.add({ a: 5, b: 3 }, { timeoutMs: 5_000 });
    client.ticks().pipe(take(3)).subscribe(console.log);
    expect(sum).toBe(8);
    await until(
      () => log.mock.calls.length,
      (lines) => lines === 3,
    );
    expect(log.mock.calls).toEqual([[0], [1], [2]]);
  }
  const clocks = defineCommands({
    ticks: streamCommand({ request: z.object({ everyMs: z.number() }), response: z.number() }),
  });
  await using client = createCommandClient(
    clocks,
    await serve(clocks, { ticks: ({ everyMs }) => interval(everyMs / 100) }),
  );
  for await (const tick of client.ticks({ everyMs: 100 })) if (tick > 10) break;
});

test('createCommandServer, handleNewMessages and handleNewMessagesSync', async () => {
  const commands = defineCommands({ push: pushing });
  const stack_sock = socketPath();
  const stack: number[] = [];
  await using server = await createCommandServer(
    commands,
    { push: ({ x }, stack: number[]) => ({ length: stack.push(x) }) },
    { address: stack_sock },
  );
  const handled = await server.handleNewMessages(stack);
  expect(handled).toBe(0);
  const world = stack;
  {
    const handled = server.handleNewMessagesSync(world, { budgetMs: 2 }); // once a frame
    expect(handled).toBe(0);
  }
  const answer = clientSend(commands, 'push', { x: 7 }, stack_sock);
  const setTimeout = async (_ms: number): Promise<void> => {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    if (stack.length > 0) throw new Error('enough');
  };
  const loop = async (): Promise<void> => {
    for (;;) {
      await server.handleNewMessages(stack);
      await setTimeout(1_000); // of node:timers/promises: the program's own work
    }
  };
  await expect(loop()).rejects.toThrow('enough');
  expect(await answer).toEqual({ length: 1 });
});

test('serveCommands', async () => {
  const commands = defineCommands({ push: pushing });
  const stack_sock = socketPath();
  const server = createSocketServer(stack_sock);
  serveCommands(server, commands, { push: ({ x }, stack: number[]) => ({ length: stack.push(x) }) }, []);
  await server.listen();
  onTestFinished(() => server.close());
  expect(await clientSend(commands, 'push', { x: 7 }, stack_sock)).toEqual({ length: 1 });
});

test('commands$ and commandClient', async () => {
  const commands = defineCommands({ add: addition, push: pushing });
  const server = createMemoryServer('stack');
  const stored: number[] = [];
  const store = ({ x }: { x: number }): number => stored.push(x);
  const { add, push } = commands$(server, commands);
  add.subscribe(({ payload: { a, b }, respond }) => respond({ sum: a + b }));
  push
    .pipe(bufferCount(10))
    .subscribe((calls) => calls.forEach((call) => call.respond({ length: store(call.payload) })));
  await server.listen();
  const client = commandClient(commands, createMemoryClient('stack', { hello: commands.hello }));
  onTestFinished(async () => {
    await client.close();
    await server.close();
  });
  expect(await client.add({ a: 1, b: 2 })).toEqual({ sum: 3 });
  const lengths = await Promise.all(Array.from({ length: 10 }, (_, x) => client.push({ x })));
  expect(lengths.map(({ length }) => length)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

/** Code without what a formatter may change, and without what only a module can say. */
function compact(code: string): string {
  return code
    .replaceAll('export const', 'const')
    .replaceAll(/\s+/g, '')
    .replaceAll(/,([)\]}])/g, '$1');
}
