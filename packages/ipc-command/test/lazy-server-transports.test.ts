import { clientSend, command, createCommandClient, createCommandServer, defineCommands } from '@spanwire/ipc-command';
import { lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { commands } from './fixtures/commands.mjs';
import { startFixture } from './support/fixture.ts';
import { addressOn, transports } from './support/place.ts';
import { until } from './support/until.ts';

const small = defineCommands({
  add: command({ request: z.object({ a: z.number(), b: z.number() }), response: z.number() }),
  push: command({ request: z.number(), response: z.number() }),
});

describe.each(transports)('a lazy server in another process, over %s', (transport) => {
  it('answers what lies in its socket when it looks, in one call', async () => {
    const address = addressOn(transport);
    const server = await startFixture('server', address);
    await using client = createCommandClient(commands, address);
    await client.connect();
    const answers = Promise.all([1, 2, 3].map((x) => client.push({ x })));
    await until(
      () => server.ask<number>('pending'),
      (pending) => pending === 3,
    );
    expect(await server.ask('stack')).toEqual([]);
    // Nothing in the process is set to go off by itself.
    expect(await server.ask('timers')).toBe(0);
    expect(await server.ask('poll')).toBe(3);
    expect(await answers).toEqual([1, 2, 3]);
    const more = client.push({ x: 4 });
    await until(
      () => server.ask<number>('pollSync'),
      (handled) => handled === 1,
    );
    expect(await more).toBe(4);
    expect(await server.ask('stack')).toEqual([1, 2, 3, 4]);
  });

  it('refuses a second server on its address, and leaves no file behind', async () => {
    const address = addressOn(transport);
    const handlers = { add: () => 1, push: () => 1 };
    const server = await createCommandServer(small, handlers, { address });
    await expect(createCommandServer(small, handlers, { address })).rejects.toMatchObject({
      code: 'ERR_IPC_ADDRESS_IN_USE',
    });
    await server.close();
    const again = await createCommandServer(small, handlers, { address });
    await again.close();
  });
});

describe.each(transports)('the end of a lazy server over %s', (transport) => {
  it('refuses what still waits, which never ran', async () => {
    const address = addressOn(transport);
    let ran = 0;
    const server = await createCommandServer(small, { add: () => ++ran, push: () => ++ran }, { address });
    await using client = createCommandClient(small, address);
    const waits = client.push(1);
    waits.catch(() => undefined);
    await until(
      () => server.pendingCount,
      (count) => count === 1,
    );
    await server.close();
    await expect(waits).rejects.toMatchObject({ code: 'ERR_IPC_REFUSED' });
    expect(ran).toBe(0);
    expect([server.handleNewMessagesSync(), server.pendingCount]).toEqual([0, 0]);
  });
});

describe.skipIf(process.platform === 'win32')('a lazy server that takes an address over', () => {
  it('gets the clients, and the one before leaves', async () => {
    const address = addressOn('unix');
    const first = await createCommandServer(small, { add: () => 1, push: () => 1 }, { address });
    const second = await createCommandServer(small, { add: () => 2, push: () => 2 }, { address, takeover: true });
    await first.ipc.closed;
    const answer = clientSend(small, 'push', 0, address);
    await until(
      () => second.handleNewMessages(),
      (handled) => handled === 1,
    );
    expect(await answer).toBe(2);
    await second.close();
  });
});

describe.runIf(process.platform === 'linux')('a synchronous loop over shared memory', () => {
  it('lets clients in and answers them, with no turn of the event loop from first to last', async () => {
    const address = addressOn('shm');
    const calls = 200;
    const server = await startFixture('server', address);
    const looped = server.ask<{ handled: number; turns: number }>(`loopSync ${calls}`);
    expect(await server.message()).toBe('looping');
    await using first = createCommandClient(commands, address);
    await using second = createCommandClient(commands, address);
    const all: number[] = [];
    const call = async (client: typeof first): Promise<void> => {
      for (let i = 0; i < calls / 2; i++) all.push(await client.push({ x: i }));
    };
    await Promise.all([call(first), call(second)]);
    expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: calls }, (_, i) => i + 1));
    expect(await looped).toEqual({ handled: calls, turns: 0 });
  });

  it('sends the items of streams from within', async () => {
    const address = addressOn('shm');
    const server = await startFixture('server', address);
    const looped = server.ask<{ handled: number; turns: number }>('loopSync 2');
    expect(await server.message()).toBe('looping');
    await using client = createCommandClient(commands, address);
    const items = await lastValueFrom(client.tocks({ count: 1000 }).pipe(toArray()));
    expect(items).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(await client.push({ x: 1 })).toBe(1);
    expect(await looped).toEqual({ handled: 2, turns: 0 });
  });
});
