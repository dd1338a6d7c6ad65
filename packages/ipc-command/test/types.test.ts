import {
  createCommandClient,
  createCommandServer,
  command,
  commands$,
  defineCommands,
  clientSend,
  serveCommands,
  streamCommand,
  unchecked,
  type CommandCall,
  type CommandStream,
  type CommandHandlers,
  type RequestInput,
  type ResponseOutput,
} from '@spanwire/ipc-command';
import { createMemoryServer, type CallOptions } from '@spanwire/ipc-core';
import { type } from 'arktype';
import type { Observable } from 'rxjs';
import * as v from 'valibot';
import { describe, expectTypeOf, it } from 'vitest';
import { z } from 'zod';

const commands = defineCommands({
  add: command({ request: z.object({ a: z.number(), b: z.number() }), response: z.object({ sum: z.number() }) }),
  push: command({ request: v.object({ x: v.number() }), response: v.number() }),
  rename: command({ request: type({ name: 'string' }), response: type('string') }),
  when: command({ request: z.string().transform((text) => new Date(text)), response: unchecked<bigint>() }),
  ping: command(),
  ticks: streamCommand({ request: z.object({ everyMs: z.number() }), response: z.number() }),
});
type Definitions = (typeof commands)['definitions'];

/** What is inside is checked by the compiler alone. */
const compiles = (_check: () => unknown): void => undefined;

describe('types', () => {
  it('flow from the schemas of three libraries to handlers and callers', () => {
    expectTypeOf<RequestInput<Definitions['add']>>().toEqualTypeOf<{ a: number; b: number }>();
    expectTypeOf<ResponseOutput<Definitions['push']>>().toEqualTypeOf<number>();
    expectTypeOf<RequestInput<Definitions['rename']>>().toEqualTypeOf<{ name: string }>();
    const client = createCommandClient(commands, '/nowhere');
    expectTypeOf(client.add).parameters.toEqualTypeOf<[payload: { a: number; b: number }, options?: CallOptions]>();
    expectTypeOf(client.add).returns.toEqualTypeOf<Promise<{ sum: number }>>();
    expectTypeOf(client.rename).returns.toEqualTypeOf<Promise<string>>();
    expectTypeOf(client.ticks).returns.toEqualTypeOf<CommandStream<number>>();
    expectTypeOf(client.ping).returns.toEqualTypeOf<Promise<undefined>>();
    compiles(() => client.ping());
    compiles(() => client.ping(undefined, { timeoutMs: 5 }));
  });

  it('tell what a client passes from what a handler gets, where a schema transforms', () => {
    const client = createCommandClient(commands, '/nowhere');
    expectTypeOf(client.when).parameter(0).toEqualTypeOf<string>();
    const handlers: Pick<CommandHandlers<Definitions, void>, 'when'> = {
      when: (date) => {
        expectTypeOf(date).toEqualTypeOf<Date>();
        return 5n;
      },
    };
    void handlers;
  });

  it('refuse wrong payloads and wrong names', () => {
    const client = createCommandClient(commands, '/nowhere');
    // @ts-expect-error a is a number
    compiles(() => client.add({ a: '1', b: 2 }));
    // @ts-expect-error b is missing
    compiles(() => client.add({ a: 1 }));
    // @ts-expect-error a payload is needed
    compiles(() => client.add());
    // @ts-expect-error no such command
    compiles(() => client.subtract({ a: 1, b: 2 }));
    // @ts-expect-error no such command
    compiles(() => clientSend(commands, 'subtract', { a: 1, b: 2 }, '/nowhere'));
    // @ts-expect-error a stream has no single answer
    compiles(() => clientSend(commands, 'ticks', { everyMs: 1 }, '/nowhere'));
    // @ts-expect-error x is a number
    compiles(() => clientSend(commands, 'push', { x: 'one' }, '/nowhere'));
    expectTypeOf(clientSend<Definitions, 'add'>).returns.resolves.toEqualTypeOf<{ sum: number }>();
  });

  it('refuse names that a client needs for itself', () => {
    // @ts-expect-error reserved
    compiles(() => defineCommands({ close: command() }));
    // @ts-expect-error reserved
    compiles(() => defineCommands({ connect: command() }));
    // @ts-expect-error made by hand
    compiles(() => defineCommands({ add: { request: z.number() } }));
  });

  it('take the context from the handlers that say it, and hold the loop to it', () => {
    const small = defineCommands({
      push: command({ request: z.object({ x: z.number() }), response: z.number() }),
      size: command({ response: z.number() }),
    });
    const make = () =>
      createCommandServer(
        small,
        { push: ({ x }, stack: number[]) => stack.push(x), size: (_nothing, stack) => stack.length },
        { address: '/nowhere' },
      );
    type Server = Awaited<ReturnType<typeof make>>;
    expectTypeOf<Parameters<Server['handleNewMessages']>[0]>().toEqualTypeOf<number[]>();
    // @ts-expect-error a stack of strings
    compiles((server: Server = null as never) => server.handleNewMessages(['a']));
    // @ts-expect-error no stack
    compiles((server: Server = null as never) => server.handleNewMessagesSync());

    type Stack = { readonly values: number[] };
    const explicit = () =>
      createCommandServer<(typeof small)['definitions'], Stack>(
        small,
        { push: ({ x }, { values }) => values.push(x), size: (_nothing, { values }) => values.length },
        { address: '/nowhere' },
      );
    expectTypeOf<Parameters<Awaited<ReturnType<typeof explicit>>['handleNewMessages']>[0]>().toEqualTypeOf<Stack>();

    const none = () => createCommandServer(small, { push: ({ x }) => x, size: () => 0 }, { address: '/nowhere' });
    type None = Awaited<ReturnType<typeof none>>;
    compiles((server: None = null as never) => server.handleNewMessagesSync());
  });

  it('refuse handlers that are missing, of no command, or answer wrongly', () => {
    const small = defineCommands({
      add: command({ request: z.object({ a: z.number(), b: z.number() }), response: z.object({ sum: z.number() }) }),
      ticks: streamCommand({ response: z.number() }),
      ping: command(),
    });
    const server = createMemoryServer('types');
    async function* items(): AsyncGenerator<number> {
      yield 1;
    }
    compiles(() =>
      serveCommands(
        server,
        small,
        { add: ({ a, b }) => ({ sum: a + b }), ticks: () => items(), ping: () => undefined },
        0,
      ),
    );
    compiles(() =>
      serveCommands(
        server,
        small,
        { add: async ({ a, b }) => Promise.resolve({ sum: a + b }), ticks: () => items(), ping: async () => {} },
        0,
      ),
    );
    // @ts-expect-error ticks and ping are missing
    compiles(() => serveCommands(server, small, { add: ({ a, b }) => ({ sum: a + b }) }, 0));
    compiles(() =>
      serveCommands(
        server,
        small,
        {
          // @ts-expect-error a sum of strings
          add: ({ a, b }) => ({ sum: `${a}${b}` }),
          // @ts-expect-error one value is no stream
          ticks: () => 1,
          ping: () => undefined,
        },
        0,
      ),
    );
    compiles(() =>
      serveCommands(
        server,
        small,
        {
          add: ({ a, b }) => ({ sum: a + b }),
          ticks: () => items(),
          ping: () => undefined,
          // @ts-expect-error no such command
          pong: () => undefined,
        },
        0,
      ),
    );
  });

  it('give each command an Observable of its own calls', () => {
    const streams = commands$(createMemoryServer('types'), commands);
    expectTypeOf(streams.add).toEqualTypeOf<Observable<CommandCall<Definitions['add']>>>();
    type Add = CommandCall<Definitions['add']>;
    expectTypeOf<Add['payload']>().toEqualTypeOf<{ a: number; b: number }>();
    expectTypeOf<Parameters<Add['respond']>>().toEqualTypeOf<[answer: { sum: number }]>();
  });
});
