import { existsSync } from 'node:fs';
import { firstValueFrom, filter } from 'rxjs';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ClientEvent, IpcServer } from '@spanwire/ipc-core';
import { createShmServer, type BarretenbergServerOptions } from '../../src/index.ts';
import { largestIn, publishedClient, startBarretenberg, unavailable, HASHES, LONG } from './support/barretenberg.ts';
import { expectNoNamesInTheEnd, freeName } from './support/names.ts';
import { start } from './support/children.ts';

async function serve(name: string, options: Omit<BarretenbergServerOptions, 'layout'> = {}): Promise<IpcServer> {
  const server = createShmServer(name, { ...options, layout: 'barretenberg' });
  onTestFinished(() => server.close());
  await server.listen();
  return server;
}

expectNoNamesInTheEnd();

/** What the fixture expects for an answer. */
function reversed(request: Uint8Array): Uint8Array {
  return Buffer.from(request).reverse();
}

/** Whether the names of the request and of the response ring are there. */
function namesOf(name: string): boolean[] {
  return ['request', 'response'].map((ring) => existsSync(`/dev/shm/${name}_${ring}`));
}

const rings = [4 * 1024, 64 * 1024, 1024 * 1024];

describe.skipIf(unavailable !== undefined)('a server for the published clients', () => {
  test.for(rings)(
    'answers thousands of calls of the blocking client, through rings of %i bytes',
    LONG,
    async (ringBytes) => {
      const name = freeName();
      const server = await serve(name, { requestRingBytes: ringBytes, responseRingBytes: ringBytes });
      server.respond((_clientId, request) => reversed(request));
      const options = { addon: publishedClient, name, kind: 'blocking', count: HASHES, largest: largestIn(ringBytes) };
      const child = start('published-client.mjs', options);
      expect(await child.next()).toEqual({ right: HASHES, full: 0 });
      expect(server.stats).toMatchObject({ requests: HASHES, responses: HASHES, droppedAnswers: 0 });
    },
  );

  test.for(rings)(
    'answers thousands of calls of the asynchronous client 256 deep, through rings of %i bytes',
    LONG,
    async (ringBytes) => {
      const name = freeName();
      const server = await serve(name, { requestRingBytes: ringBytes, responseRingBytes: ringBytes });
      server.respond((_clientId, request) => reversed(request));
      const options = {
        addon: publishedClient,
        name,
        kind: 'async',
        count: HASHES,
        depth: 256,
        largest: largestIn(ringBytes),
      };
      const child = start('published-client.mjs', options);
      expect(await child.next()).toMatchObject({ right: HASHES });
      expect(server.stats).toMatchObject({ requests: HASHES, responses: HASHES, droppedAnswers: 0 });
    },
  );

  test('answers a request of no bytes', async () => {
    const name = freeName();
    const server = await serve(name);
    server.respond((_clientId, request) => Uint8Array.of(request.length));
    const child = start('published-caller.mjs', { addon: publishedClient, name });
    expect(await child.next()).toBe('ready');
    child.send({ bytes: 0 });
    expect(await child.next()).toEqual([0]);
  });

  test('knows the process of its client, and tells when it ends', async () => {
    const name = freeName();
    const server = await serve(name);
    const events: ClientEvent[] = [];
    server.clients$.subscribe((event) => events.push(event));
    server.respond((_clientId, request) => request);
    for (const clientId of [1, 2]) {
      const child = start('published-caller.mjs', { addon: publishedClient, name });
      await child.next();
      child.send({ bytes: 10 });
      await child.next();
      const peer = { pid: child.process.pid, uid: process.getuid?.() };
      expect(events.at(-1)).toMatchObject({ type: 'connected', clientId, framing: 'plain', peer });
      child.process.kill('SIGKILL');
      await firstValueFrom(server.clients$.pipe(filter(({ type }) => type === 'disconnected')));
      expect(events.at(-1)).toMatchObject({ type: 'disconnected', clientId, reason: 'gone' });
    }
  });

  test('aborts what a client that was killed asked for, and gives none of it to the next client', async () => {
    const name = freeName();
    const server = await serve(name, { maxInFlight: 4 });
    const aborted: unknown[] = [];
    let answerLate: (() => void) | undefined;
    const taken = new Promise<void>((resolve) => {
      server.respond((clientId, request, info) => {
        if (clientId > 1) return request;
        info.signal.addEventListener('abort', () => aborted.push(info.signal.reason));
        // The next one is in the ring already, and some more behind it.
        if (info.requestId === 4) resolve();
        return new Promise((answer) => (answerLate = () => answer(Uint8Array.of(1, 2, 3))));
      });
    });
    const first = start('published-caller.mjs', { addon: publishedClient, name });
    await first.next();
    first.send({ bytes: 10, times: 10 });
    await taken;
    first.process.kill('SIGKILL');
    await firstValueFrom(server.clients$.pipe(filter(({ type }) => type === 'disconnected')));
    expect(aborted).toHaveLength(4);
    answerLate?.();
    const second = start('published-caller.mjs', { addon: publishedClient, name });
    await second.next();
    for (let length = 1; length < 20; length++) {
      second.send({ bytes: length });
      expect(await second.next()).toHaveLength(length);
    }
  });

  test('removes its names when it closes, and never those of another server', async () => {
    const name = freeName();
    const server = await serve(name);
    const second = createShmServer(name, { layout: 'barretenberg' });
    await expect(second.listen()).rejects.toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
    await second.close();
    expect(namesOf(name)).toEqual([true, true]);
    await server.close();
    expect(namesOf(name)).toEqual([false, false]);
  });

  test('leaves the names of the live published server alone, and takes those of a dead one', async () => {
    const name = freeName();
    const published = await startBarretenberg(name, 4096);
    const server = createShmServer(name, { layout: 'barretenberg' });
    onTestFinished(() => server.close());
    await expect(server.listen()).rejects.toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
    published.kill('SIGKILL');
    await published.exited;
    expect(namesOf(name)).toEqual([true, true]);
    server.respond((_clientId, request) => request);
    await server.listen();
    const child = start('published-caller.mjs', { addon: publishedClient, name });
    await child.next();
    child.send({ bytes: 1 });
    expect(await child.next()).toHaveLength(1);
  });

  test.for(['exit', 'terminate', 'error', 'close'])(
    'leaves no names behind when its process ends: %s',
    async (ending) => {
      const name = freeName();
      const child = start('our-server.mjs', { name, ending });
      expect(await child.next()).toBe('listening');
      expect(namesOf(name)).toEqual([true, true]);
      const caller = start('published-caller.mjs', { addon: publishedClient, name });
      await caller.next();
      caller.send({ bytes: 7 });
      expect(await caller.next()).toHaveLength(7);
      child.send({});
      expect(await child.exited).toEqual({ code: ending === 'error' ? 1 : 0, signal: null });
      expect(namesOf(name)).toEqual([false, false]);
    },
  );

  test('takes the names of one of ours that was killed', async () => {
    const name = freeName();
    const child = start('our-server.mjs', { name, ending: 'exit' });
    await child.next();
    child.process.kill('SIGKILL');
    await child.exited;
    expect(namesOf(name)).toEqual([true, true]);
    await serve(name);
  });

  test('says what its rings may be', () => {
    for (const bytes of [0, 1024, 5000, 2 ** 31, Number.NaN]) {
      expect(() => createShmServer('x', { layout: 'barretenberg', requestRingBytes: bytes })).toThrow(RangeError);
      expect(() => createShmServer('x', { layout: 'barretenberg', responseRingBytes: bytes })).toThrow(RangeError);
    }
  });

  test('has no takeover', async () => {
    const server = createShmServer(freeName(), { layout: 'barretenberg' });
    await expect(server.listen({ takeover: true })).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
  });
});
