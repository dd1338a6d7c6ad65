import {
  clientSend,
  command,
  createCommandClient,
  createCommandServer,
  defineCommands,
  unchecked,
} from '@spanwire/ipc-command';
import { statSync } from 'node:fs';
import { lastValueFrom, take, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { commands } from './fixtures/commands.mjs';
import { startFixture } from './support/fixture.ts';
import { addressOn, socketPath, transports } from './support/place.ts';
import { until } from './support/until.ts';

async function setUp() {
  const address = socketPath();
  const server = await startFixture('server', address);
  const client = createCommandClient(commands, address);
  onTestFinished(() => client.close());
  return { address, server, client };
}

describe('a command client', () => {
  it('rejects when the server does not look in time, and the command never runs', async () => {
    const { server, client } = await setUp();
    await expect(client.push({ x: 1 }, { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ERR_IPC_TIMEOUT',
      timeoutMs: 20,
    });
    const next = client.push({ x: 2 });
    await until(
      () => server.ask<number>('poll'),
      (handled) => handled === 1,
    );
    expect(await next).toBe(1);
    expect(await server.ask('stack')).toEqual([2]);
  });

  it('rejects with the reason of its signal, before and while it waits', async () => {
    const { server, client } = await setUp();
    await expect(client.push({ x: 1 }, { signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow('never');
    const controller = new AbortController();
    const waiting = client.push({ x: 1 }, { signal: controller.signal });
    await until(
      () => server.ask<number>('pending'),
      (pending) => pending === 1,
    );
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await until(
      () => server.ask<number>('pending'),
      (pending) => pending === 0,
    );
    expect(await server.ask('poll')).toBe(0);
  });

  it('streams items between processes, each subscription anew, and cancels with its last', async () => {
    const { server, client } = await setUp();
    void server.ask('serve');
    const ticks = client.ticks({ count: 3 });
    expect(await lastValueFrom(ticks.pipe(toArray()))).toEqual([0, 1, 2]);
    expect(await lastValueFrom(ticks.pipe(toArray()))).toEqual([0, 1, 2]);
    expect(await lastValueFrom(client.ticks({ count: 1_000_000 }).pipe(take(2), toArray()))).toEqual([0, 1]);
    await until(
      () => server.ask<{ openRequests: number }>('stats'),
      ({ openRequests }) => openRequests === 0,
    );
  });

  it('iterates a stream one item at a time, and the server waits for it', async () => {
    const { server, client } = await setUp();
    void server.ask('serve');
    const seen: number[] = [];
    for await (const tick of client.ticks({ count: 1_000_000 })) {
      seen.push(tick);
      if (tick === 2) break;
    }
    expect(seen).toEqual([0, 1, 2]);
    await until(
      () => server.ask<{ openRequests: number }>('stats'),
      ({ openRequests }) => openRequests === 0,
    );
    // What fits the window of a stream, and not a million.
    const { bytesOut } = await server.ask<{ bytesOut: number }>('stats');
    expect(bytesOut).toBeLessThan(512 * 1024);
    const bad = client.ticks({ count: 2_000_000.5 })[Symbol.asyncIterator]();
    await expect(bad.next()).rejects.toThrow('Expected a valid payload');
  });

  it('ends a stream whose payload is wrong, without asking', async () => {
    const { client } = await setUp();
    await expect(lastValueFrom(client.ticks({ count: 1.5 }))).rejects.toThrow('Expected a valid payload of "ticks"');
  });

  it('is no promise, so it can be awaited by mistake, and has only its commands', async () => {
    const client = createCommandClient(commands, socketPath());
    expect(await Promise.resolve(client)).toBe(client);
    expect(Object.keys(client).sort()).toEqual([
      'add',
      'close',
      'connect',
      'echo',
      'fail',
      'lie',
      'push',
      'ticks',
      'tocks',
    ]);
    await client.close();
    await expect(client.add({ a: 1, b: 2 })).rejects.toMatchObject({ code: 'ERR_IPC_CLOSED' });
  });

  it('connects again on its own when it was told to', async () => {
    const address = socketPath();
    const first = await startFixture('server', address);
    const client = createCommandClient(commands, address, { reconnect: { delaysMs: [5] } });
    onTestFinished(() => client.close());
    void first.ask('serve');
    expect(await client.push({ x: 1 })).toBe(1);
    const lost = client.ticks({ count: 1_000_000 });
    const failure = lastValueFrom(lost).catch((reason: unknown) => reason);
    await lastValueFrom(lost.pipe(take(1)));
    first.process.kill('SIGKILL');
    expect(await failure).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    const second = await startFixture('server', address);
    void second.ask('serve');
    expect(await client.push({ x: 2 })).toBe(1);
  });

  it('passes bytes, bigints and dates as they are', async () => {
    const value = z.object({ at: z.date(), big: z.bigint(), bytes: z.instanceof(Uint8Array), maybe: z.undefined() });
    const definition = defineCommands({ echo: command({ request: value, response: value }) });
    const address = socketPath();
    await using server = await createCommandServer(definition, { echo: (same) => same }, { address });
    const sent = { at: new Date(1234.5), big: 2n ** 80n, bytes: Uint8Array.of(1, 2), maybe: undefined };
    const echoed = clientSend(definition, 'echo', sent, address);
    await until(
      () => server.handleNewMessages(),
      (handled) => handled === 1,
    );
    expect(await echoed).toEqual(sent);
  });

  it('transforms once: the payload at the server, the answer at the client', async () => {
    const definition = defineCommands({
      later: command({
        request: z.string().transform((text) => new Date(text)),
        response: z.number().transform((ms) => `${ms} ms`),
      }),
      plain: command({ request: unchecked<{ deep: [number] }>(), response: unchecked<number>() }),
    });
    const address = socketPath();
    const handlers = { later: (at: Date) => at.getTime(), plain: ({ deep }: { deep: [number] }) => deep[0] };
    await using server = await createCommandServer(definition, handlers, { address });
    const client = createCommandClient(definition, address);
    onTestFinished(() => client.close());
    const answers = Promise.all([client.later('1970-01-01T00:00:01Z'), client.plain({ deep: [5] })]);
    await until(
      () => server.ipc.stats.requests,
      (requests) => {
        server.handleNewMessagesSync();
        return requests === 2;
      },
    );
    expect(await answers).toEqual(['1000 ms', 5]);
  });
});

describe('clientSend', () => {
  it('refuses at once what is no command with one answer, without connecting', async () => {
    const send = (name: string): Promise<unknown> => clientSend(commands, name as 'add', { a: 1, b: 2 }, socketPath());
    await expect(send('subtract')).rejects.toThrow('got "subtract", which is no command');
    await expect(send('ticks')).rejects.toThrow('got "ticks", which is a stream');
    await expect(send('close')).rejects.toThrow(TypeError);
  });
});

describe.skipIf(process.platform === 'win32').each(transports)('a command socket of %s', (transport) => {
  it('is for its user alone, whatever the umask', async () => {
    const before = process.umask(0);
    onTestFinished(() => void process.umask(before));
    const address = addressOn(transport);
    const definition = defineCommands({ ping: command() });
    await using server = await createCommandServer(definition, { ping: () => undefined }, { address });
    expect((statSync(address.slice(address.indexOf(':') + 1)).mode & 0o777).toString(8)).toBe('600');
    expect(server.pendingCount).toBe(0);
  });
});
