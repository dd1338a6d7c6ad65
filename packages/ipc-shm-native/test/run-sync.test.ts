import { existsSync, readdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { helloOfClient, KIND_REQUEST, resolveClientOptions, type Channel, type IpcClient } from '@spanwire/ipc-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createShmServer, shmConnect, type ShmSyncClient } from '../src/index.ts';
import {
  blockingClient,
  codeOf,
  cpuTicksOf,
  loopClient,
  pattern,
  ring,
  serving,
  sizes,
  wish,
} from './support/blocking.ts';
import { eventually } from './support/eventually.ts';
import { clientHello, ended } from './support/peers.ts';
import { makeDirectory } from './support/place.ts';
import { holdingsOf, sleepsOf } from './support/process.ts';

/** A connection that takes none of its answers. */
async function deafClient(address: string): Promise<Channel> {
  const settings = resolveClientOptions();
  const connect = shmConnect(address)({ settings, hello: helloOfClient(settings) });
  const channel = await connect(new AbortController().signal);
  onTestFinished(() => channel.close('gone'));
  return channel;
}

/** A client of a server that says `code` for a while: until another one has left, or until this process was quick enough. */
function untilLetIn(address: string, code: string): ShmSyncClient {
  for (;;) {
    try {
      return blockingClient(address);
    } catch (error) {
      expect(error).toMatchObject({ code });
    }
  }
}

describe('a server that blocks', () => {
  test('serves clients on the event loop: requests, one-way messages, streams of one item, metadata', async () => {
    const { address, next } = await serving({ requestRingBytes: ring, responseRingBytes: ring });
    const client = await loopClient(address);
    const asked = sizes.map(async (size) => Buffer.compare(await client.request(pattern(size)), pattern(size)));
    expect(await Promise.all(asked)).toEqual(sizes.map(() => 0));
    await client.send(pattern(77));
    expect(await next('message')).toEqual({ message: 77 });
    const items: number[] = [];
    await client.request$(pattern(5)).forEach((item) => void items.push(item.length));
    expect(items).toEqual([5]);
    const metadata = new Map([['trace', 'on']]);
    expect(await client.request(pattern(3), { metadata, timeoutMs: 60_000 })).toEqual(pattern(3));
    await expect(client.request(wish('F'))).rejects.toMatchObject({ code: 'ERR_IPC_REMOTE' });
  });

  test('gives a handler that declares it the whole request, with its metadata', async () => {
    const { address } = await serving({ handler: 'trace' });
    const client = await loopClient(address);
    expect(Buffer.from(await client.request(pattern(3))).toString()).toBe('none');
    const metadata = new Map([['trace', 'on']]);
    expect(Buffer.from(await client.request(pattern(3), { metadata })).toString()).toBe('on');
    expect(Buffer.from(blockingClient(address).call(pattern(3))).toString()).toBe('none');
  });

  test('pushes to clients on the event loop', async () => {
    const { address } = await serving();
    const client = await loopClient(address);
    expect(await client.request(wish('M'))).toEqual(Uint8Array.of(1, 1));
    expect(await client.receive()).toEqual(wish('M'));
    expect(await client.receive()).toEqual(wish('M'));
  });

  test('answers thousands of requests that are under way at once, of many clients', async () => {
    const { address } = await serving();
    const clients = await Promise.all(Array.from({ length: 20 }, () => loopClient(address)));
    const ask = async (client: IpcClient, i: number): Promise<void> => {
      const data = pattern(i * 7);
      expect(Buffer.compare(await client.request(data), data)).toBe(0);
    };
    await Promise.all(clients.flatMap((client) => Array.from({ length: 500 }, (_, i) => ask(client, i))));
    const ids = await Promise.all(clients.map((client) => client.request(wish('I'))));
    expect(new Set(ids.map(([id]) => id)).size).toBe(20);
  });

  test('cancels what it has not begun: the request is never handled', async () => {
    const { address, begun, open } = await serving();
    const client = await loopClient(address);
    const abort = new AbortController();
    const first = client.request(wish('W', 1));
    await begun(1);
    const second = client.request(wish('S'), { signal: abort.signal });
    abort.abort(new Error('never mind'));
    await expect(second).rejects.toThrow('never mind');
    open(1);
    await first;
    // It would have shut down.
    expect(await client.request(pattern(4))).toEqual(pattern(4));
  });

  test('answers a handler’s promise, and what is no bytes, with ERR_IPC_UNSUPPORTED', async () => {
    const { address } = await serving();
    const client = blockingClient(address);
    for (const what of ['P', 'T']) {
      expect(() => client.call(wish(what))).toThrow(
        'Expected the handler of runSync to return a Uint8Array or undefined',
      );
    }
    expect(client.call(pattern(4))).toEqual(pattern(4));
  });

  test('ends when its stop flag is set, also while it sleeps: the name is gone, and the clients know', async () => {
    const { server, address, path, over } = await serving();
    const client = await loopClient(address);
    const blocked = blockingClient(address);
    blocked.call(pattern(1));
    server.send('stop');
    await over();
    expect(await server.next()).toBe('closed');
    expect(existsSync(path)).toBe(false);
    await expect(client.request(pattern(1))).rejects.toMatchObject({
      code: expect.stringMatching(/REFUSED|PEER_GONE/) as string,
    });
    expect(codeOf(() => blocked.call(pattern(1)))).toMatch(/REFUSED|PEER_GONE/);
    expect(codeOf(() => blockingClient(address))).toBe('ERR_IPC_PEER_GONE');
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });

  test('that has the main thread is ended by SIGTERM; a handler for it keeps the process, and runs once runSync has returned', async () => {
    const bare = await serving({ onMain: true });
    expect(blockingClient(bare.address).call(pattern(1))).toEqual(pattern(1));
    expect(await bare.server.kill('SIGTERM')).toEqual({ code: null, signal: 'SIGTERM' });

    const { server, address, over } = await serving({ onMain: true, handles: 'SIGTERM' });
    const client = blockingClient(address);
    client.call(pattern(1));
    process.kill(server.pid, 'SIGTERM');
    for (let i = 0; i < 1000; i++) expect(client.call(pattern(i))).toEqual(pattern(i));
    client.call(wish('S'));
    await over();
    const said = [await server.next(), await server.next()];
    expect(said).toContainEqual({ handled: 'SIGTERM' });
  });

  test('answers what came before the shutdown, and refuses what came after it', async () => {
    const { address, over, open } = await serving();
    const client = await loopClient(address);
    const all = [wish('W', 1), wish('S'), pattern(5), pattern(6)].map((data) => client.request(data));
    const settled = Promise.allSettled(all);
    // Not before all of them are sent.
    open(1);
    const results = await settled;
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected']);
    expect((results[2] as PromiseRejectedResult).reason).toMatchObject({ code: 'ERR_IPC_REFUSED' });
    await over();
  });

  test('whose stop flag is set while it handles many requests at once starts none of the others', async () => {
    const { server, address, over, says, begun, open } = await serving();
    const client = await loopClient(address);
    const first = client.request(wish('W', 1));
    const rest = Array.from({ length: 200 }, () => client.request(pattern(8)));
    const results = Promise.allSettled([first, ...rest]);
    await begun(1);
    server.send('stop');
    await says('stopping');
    open(1);
    const [head, ...others] = await results;
    expect(head).toMatchObject({ status: 'fulfilled' });
    expect(new Set(others.map((other) => other.status))).toEqual(new Set(['rejected']));
    for (const other of others) expect(other).toMatchObject({ reason: { code: 'ERR_IPC_REFUSED' } });
    await over();
  });

  test('drops who does not finish the handshake, and who says something else', async () => {
    const { address, path, server } = await serving({ handshakeTimeoutMs: 100 });
    const steady = untilLetIn(address, 'ERR_IPC_PEER_GONE');
    steady.call(pattern(1));
    const before = holdingsOf(server.pid);
    const silent = createConnection(path).resume();
    const garbage = createConnection(path).resume();
    const halfway = createConnection(path).resume();
    garbage.write('GET / HTTP/1.1\r\n\r\n');
    halfway.write(Buffer.from(clientHello, 'hex'));
    await Promise.all([silent, garbage, halfway].map(ended));
    await eventually(() => holdingsOf(server.pid), before);
    expect(steady.call(pattern(3))).toEqual(pattern(3));
  });

  test('refuses who is one too many, and takes the next one once another has left', async () => {
    const { address } = await serving({ maxClients: 2 });
    const [steady, second] = [blockingClient(address), blockingClient(address)];
    expect(codeOf(() => blockingClient(address))).toBe('ERR_IPC_OVERLOADED');
    second.close();
    const third = untilLetIn(address, 'ERR_IPC_OVERLOADED');
    expect(third.call(pattern(2))).toEqual(pattern(2));
    expect(steady.call(pattern(3))).toEqual(pattern(3));
  });

  test('drops a client that takes no answers after stalledClient.afterMs, and serves the others meanwhile', async () => {
    const small = { requestRingBytes: ring, responseRingBytes: ring };
    const { address, next } = await serving({ ...small, stalledClient: { afterMs: 200 } });
    const deaf = await deafClient(address);
    await next('came');
    const steady = blockingClient(address);
    await next('came');
    // More answers than the ring holds.
    for (let id = 1; id <= 20; id++) expect(deaf.trySend('data', KIND_REQUEST, id, 0, wish('L', 4000))).toBe(true);
    const served = { going: true };
    const left = next('left').finally(() => (served.going = false));
    while (served.going) {
      expect(steady.call(pattern(10))).toEqual(pattern(10));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await left).toMatchObject({ left: 1, reason: 'stalled' });
    expect(steady.call(pattern(11))).toEqual(pattern(11));
  });

  test('sleeps while there is nothing to do', async () => {
    const { server, address } = await serving();
    const client = blockingClient(address);
    client.call(pattern(1));
    // In the end: what the runtime does after its start is not over yet, and on a busy machine the time that a process
    // did not run while it should have may count as its own. Who spins is never idle.
    for (let used = Infinity; used > 5;) {
      const before = cpuTicksOf(server.pid);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      used = cpuTicksOf(server.pid) - before;
    }
    expect(sleepsOf(server.pid)).toBeGreaterThan(0);
  });

  test('can be terminated with its worker while it sleeps', async () => {
    const { server, address } = await serving();
    blockingClient(address).call(pattern(1));
    server.send('terminate');
    for (let said: unknown; said !== 'ended';) said = await server.next();
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });

  test('says when clients can connect; what is thrown then ends it', async () => {
    const directory = makeDirectory();
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const heard: boolean[] = [];
    const onListening = (): void => {
      heard.push(existsSync(`${directory}/s`));
      stop[0] = 1;
    };
    createShmServer(`shm:${directory}/s`).runSync(() => undefined, { stop, onListening });
    expect(heard).toEqual([true]);
    const failure = new Error('not now');
    const throwing = createShmServer(`shm:${directory}/s`);
    expect(() =>
      throwing.runSync(() => undefined, {
        onListening: () => {
          throw failure;
        },
      }),
    ).toThrow(failure);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('throws ERR_IPC_ADDRESS_IN_USE where another one listens, and may try again', async () => {
    const { address, path, over } = await serving();
    const server = createShmServer(`shm:${path}`);
    const never = new Int32Array(new SharedArrayBuffer(4)).fill(1);
    expect(codeOf(() => server.runSync(() => undefined, { stop: never }))).toBe('ERR_IPC_ADDRESS_IN_USE');
    blockingClient(address).call(wish('S'));
    await over();
    server.runSync(() => undefined, { stop: never });
    await server.closed;
    expect(readdirSync(path.slice(0, -2))).toEqual([]);
    expect(codeOf(() => server.runSync(() => undefined))).toBe('ERR_IPC_CLOSED');
  });

  test('says what it expects of its arguments and of its server', async () => {
    const directory = makeDirectory();
    const make = (): ReturnType<typeof createShmServer> => createShmServer(`shm:${directory}/s`);
    // @ts-expect-error -- a mistake of the caller
    expect(() => make().runSync('echo')).toThrow(TypeError);
    // @ts-expect-error -- a mistake of the caller
    expect(() => make().runSync(() => undefined, { onListening: true })).toThrow(TypeError);
    for (const stop of [new Int32Array(1), new Uint8Array(new SharedArrayBuffer(4)), true]) {
      expect(() => make().runSync(() => undefined, { stop: stop as Int32Array })).toThrow('`stop` to be an Int32Array');
    }
    const subscribed = make();
    subscribed.requests$.subscribe();
    expect(() => subscribed.runSync(() => undefined)).toThrow('Expected one subscriber');
    const closed = make();
    await closed.close();
    expect(codeOf(() => closed.runSync(() => undefined))).toBe('ERR_IPC_CLOSED');
    const listening = make();
    onTestFinished(() => listening.close());
    await listening.listen();
    expect(() => listening.runSync(() => undefined)).toThrow('not asked to listen');
    const other = createShmServer('shm:other', { layout: 'barretenberg' });
    expect(codeOf(() => other.runSync(() => undefined))).toBe('ERR_IPC_UNSUPPORTED');
  });
});
