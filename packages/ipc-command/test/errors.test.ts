import {
  clientSend,
  command,
  commandClient,
  createCommandClient,
  defineCommands,
  InvalidPayloadError,
  InvalidResponseError,
  serveCommands,
  streamCommand,
  unchecked,
  UnknownCommandError,
  VersionMismatchError,
} from '@spanwire/ipc-command';
import { createMemoryClient, createMemoryServer, IpcError, RemoteError } from '@spanwire/ipc-core';
import { createSocketClient } from '@spanwire/ipc-socket';
import { type } from 'arktype';
import { EMPTY, lastValueFrom, throwError, toArray } from 'rxjs';
import * as v from 'valibot';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { z } from 'zod';
import { commands } from './fixtures/commands.mjs';
import { startFixture } from './support/fixture.ts';
import { socketPath } from './support/place.ts';
import { serve } from './support/serve.ts';

describe('a payload that its command does not take', () => {
  const libraries = {
    zod: z.object({ list: z.array(z.object({ x: z.number() })) }),
    valibot: v.object({ list: v.array(v.object({ x: v.number() })) }),
    arktype: type({ list: type({ x: 'number' }).array() }),
  };

  it.each(Object.entries(libraries))(
    'rejects at the client that sends it, with the issues of %s',
    async (_, request) => {
      let ran = 0;
      const definition = defineCommands({ sum: command({ request, response: unchecked<number>() }) });
      const { connect, server } = await serve(definition, { sum: () => ++ran });
      const bad = { list: [{ x: 1 }, { x: '2' as never }] };
      const error = await connect(definition)
        .client.sum(bad)
        .catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidPayloadError);
      expect(error).toMatchObject({ code: 'ERR_IPC_PROTOCOL', command: 'sum', issues: [{ path: ['list', 1, 'x'] }] });
      expect((error as Error).message).toMatch(/^Expected a valid payload of "sum", got list\[1\]\.x/);
      expect(server.stats.requests).toBe(0);

      // A client that checks nothing is told by the server, in the same words.
      const careless = defineCommands({
        sum: command({ request: unchecked<unknown>(), response: unchecked<number>() }),
      });
      const remote = await connect(careless, true)
        .client.sum(bad)
        .catch((reason: unknown) => reason);
      expect(remote).toBeInstanceOf(InvalidPayloadError);
      expect(remote).toMatchObject(Object.fromEntries(Object.entries(error as InvalidPayloadError)));
      expect(server.stats.requests).toBe(1);
      expect(ran).toBe(0);
    },
  );

  it('is also one where none is taken', async () => {
    const definition = defineCommands({ stop: command() });
    const { connect } = await serve(definition, { stop: () => undefined });
    const careless = defineCommands({ stop: command({ request: unchecked<unknown>() }) });
    const { client } = connect(careless, true);
    await expect(client.stop(5)).rejects.toThrow('Expected nothing, got a value of type number');
    expect(await client.stop(null)).toBeUndefined();
    expect(await client.stop(undefined)).toBeUndefined();
  });

  it('is told of at most 100 of its issues', async () => {
    const definition = defineCommands({ sum: command({ request: z.array(z.number()) }) });
    const { connect } = await serve(definition, { sum: () => undefined });
    const error: unknown = await connect(definition)
      .client.sum(Array.from({ length: 5000 }, () => 'x' as never))
      .catch((reason: unknown) => reason);
    expect((error as InvalidPayloadError).issues).toHaveLength(100);
    expect((error as Error).message).toContain('and 97 more');
  });

  it('is validated asynchronously where the validator does so', async () => {
    const definition = defineCommands({
      reserve: command({
        request: z.string().refine(async (name) => Promise.resolve(name !== 'taken'), 'Expected a free name'),
        response: z.string().refine(async (name) => Promise.resolve(name !== 'lost')),
      }),
    });
    const { connect, failures } = await serve(definition, { reserve: (name) => name });
    const { client } = connect(definition);
    expect(await client.reserve('free')).toBe('free');
    await expect(client.reserve('taken')).rejects.toThrow('Expected a free name');
    await expect(client.reserve('lost')).rejects.toThrow(InvalidResponseError);
    expect(failures).toMatchObject([{ command: 'reserve', error: { name: 'InvalidResponseError' } }]);
  });

  it('fails alone when it is no msgpack, and the server goes on', async () => {
    const address = socketPath();
    const server = await startFixture('server', address);
    void server.ask('serve');
    const raw = createSocketClient(address);
    await raw.connect();
    for (const bytes of [
      Uint8Array.of(),
      Uint8Array.of(0xc1),
      Uint8Array.of(0xdd, 255, 255, 255, 255),
      new Uint8Array(1 << 20),
    ]) {
      const answer = Buffer.from(await raw.request(bytes)).toString('latin1');
      expect(answer).toContain('payload');
    }
    await raw.close();
    expect(await clientSend(commands, 'add', { a: 1, b: 2 }, address)).toEqual({ sum: 3 });
  });
});

describe('an answer that its command does not give', () => {
  const definition = defineCommands({
    lie: command({ response: z.object({ honest: z.literal(true) }) }),
    count: streamCommand({ response: z.number().max(2) }),
    one: streamCommand({ response: z.number() }),
    many: command({ response: unchecked<unknown>() }),
    odd: command({ response: unchecked<unknown>() }),
  });
  const handlers = {
    lie: () => ({ honest: false }) as never,
    async *count() {
      for (let i = 1; i < 10; i++) yield i;
    },
    one: () => 1 as never,
    many: () => EMPTY as never,
    odd: () => Symbol('odd'),
  };

  it('is the failure of the server, which learns it, and the client gets none of it', async () => {
    const { connect, failures } = await serve(definition, handlers);
    const { client } = connect(definition);
    await expect(client.lie()).rejects.toThrow(InvalidResponseError);
    await expect(client.lie()).rejects.toMatchObject({
      code: 'ERR_IPC_REMOTE',
      command: 'lie',
      issues: [{ path: ['honest'] }],
    });
    expect(failures).toMatchObject([1, 2].map(() => ({ command: 'lie', clientId: 1, error: { issues: [{}] } })));
  });

  it('ends a stream after the items before it', async () => {
    const { connect, failures } = await serve(definition, handlers);
    const seen: number[] = [];
    const stream = connect(definition).client.count();
    await expect(
      new Promise((resolve, reject) => {
        stream.subscribe({ next: (item) => seen.push(item), error: reject, complete: () => resolve(undefined) });
      }),
    ).rejects.toThrow(InvalidResponseError);
    expect(seen).toEqual([1, 2]);
    expect(failures).toHaveLength(1);
  });

  it('is a value where a stream belongs, a stream where a value belongs, and what msgpack cannot say', async () => {
    const { connect, failures } = await serve(definition, handlers);
    const { client } = connect(definition);
    await expect(lastValueFrom(client.one().pipe(toArray()))).rejects.toThrow(
      'Expected an Observable or an AsyncIterable',
    );
    await expect(client.many()).rejects.toThrow('Expected one value, got a stream');
    await expect(client.odd()).rejects.toThrow('plain data');
    expect(failures.map(({ command }) => command)).toEqual(['one', 'many', 'odd']);
  });

  it('becomes a warning of the process when nobody wants to know', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warn.mockRestore());
    const server = createMemoryServer('warned');
    serveCommands(server, definition, handlers, undefined);
    await server.listen();
    const client = commandClient(definition, createMemoryClient('warned'));
    await expect(client.lie()).rejects.toThrow(InvalidResponseError);
    expect(warn).toHaveBeenCalledWith(expect.any(InvalidResponseError));
    await client.close();
    await server.close();
  });

  it('is the failure of the client when only the client minds', async () => {
    const served = defineCommands({ size: command({ response: unchecked<unknown>() }) });
    const expected = defineCommands({ size: command({ response: z.number() }) });
    const { connect, failures } = await serve(served, { size: () => 'big' });
    await expect(connect(expected, true).client.size()).rejects.toThrow(InvalidResponseError);
    expect(failures).toEqual([]);
  });
});

describe('what a handler throws', () => {
  it('reaches the client with its name, message and code, and this side whole', async () => {
    const definition = defineCommands({ fail: command(), stream: streamCommand({ response: z.number() }) });
    const cause = Object.assign(new RangeError('too far'), { code: 'E_FAR' });
    const { connect, failures } = await serve(definition, {
      fail: () => {
        throw cause;
      },
      stream: () => throwError(() => cause),
    });
    const { client } = connect(definition);
    const remote = { name: 'RangeError', message: 'too far', code: 'E_FAR' };
    await expect(client.fail()).rejects.toMatchObject({ code: 'ERR_IPC_REMOTE', remote });
    await expect(client.fail()).rejects.toThrow(RemoteError);
    await expect(lastValueFrom(client.stream())).rejects.toMatchObject({ remote });
    expect(failures.map(({ error }) => error)).toEqual([cause, cause, cause]);
  });

  it('is not taken for a word of the command protocol', async () => {
    const definition = defineCommands({ proxy: command() });
    const { connect } = await serve(definition, {
      proxy: () => {
        throw new UnknownCommandError('of another server');
      },
    });
    const error: unknown = await connect(definition)
      .client.proxy()
      .catch((reason: unknown) => reason);
    expect(error).not.toBeInstanceOf(UnknownCommandError);
    expect(error).toMatchObject({ remote: { name: 'UnknownCommandError' } });
  });
});

describe('a command that the server does not have', () => {
  it('is refused by name, even by the names that every object has', async () => {
    const served = defineCommands({ add: command() });
    const { connect } = await serve(served, { add: () => undefined });
    const wanted = defineCommands({ subtract: command(), constructor: command(), toString: command() });
    const { client } = connect(wanted, true);
    await expect(client.subtract()).rejects.toThrow(UnknownCommandError);
    await expect(client.subtract()).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED', command: 'subtract' });
    await expect(client.constructor()).rejects.toThrow(UnknownCommandError);
    await expect(client.toString()).rejects.toThrow(UnknownCommandError);
  });
});

describe('a client with another definition', () => {
  it('is refused each command, and told both hashes; nothing runs', async () => {
    let ran = 0;
    const served = defineCommands({ add: command() });
    const other = defineCommands({ add: command() }, { version: '2' });
    const { connect } = await serve(served, { add: () => void ran++ });
    const { client } = connect(other);
    const error: unknown = await client.add().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(VersionMismatchError);
    expect(error).toMatchObject({ code: 'ERR_IPC_VERSION', clientHash: other.hash, serverHash: served.hash });
    expect(ran).toBe(0);
    expect(await connect(served).client.add()).toBeUndefined();
    expect(ran).toBe(1);
  });

  it('is served when it says that it takes any version', async () => {
    const address = socketPath();
    const server = await startFixture('server', address);
    void server.ask('serve');
    const other = defineCommands({ add: commands.definitions.add }, { version: 'other' });
    await expect(clientSend(other, 'add', { a: 1, b: 2 }, address)).rejects.toThrow(VersionMismatchError);
    expect(await clientSend(other, 'add', { a: 1, b: 2 }, address, { anyVersion: true })).toEqual({ sum: 3 });
  });
});

describe('an address', () => {
  it('that nobody listens on rejects each command, and is tried again by the next', async () => {
    const address = socketPath();
    await using client = createCommandClient(commands, address);
    await expect(client.add({ a: 1, b: 2 })).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    await expect(client.connect()).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    const server = await startFixture('server', address);
    void server.ask('serve');
    expect(await client.add({ a: 1, b: 2 })).toEqual({ sum: 3 });
  });

  it('that is none throws at once', () => {
    expect(() => createCommandClient(commands, 'http://localhost')).toThrow(TypeError);
    expect(() => createCommandClient(commands, 5 as never)).toThrow('Expected `address` to be a string');
  });

  it('without its server any more fails what was sent', async () => {
    const address = socketPath();
    const server = await startFixture('server', address);
    await using client = createCommandClient(commands, address);
    const lost = client.add({ a: 1, b: 2 });
    lost.catch(() => undefined);
    await client.connect();
    server.process.kill('SIGKILL');
    await expect(lost).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    await expect(client.add({ a: 1, b: 2 })).rejects.toThrow(IpcError);
  });
});
