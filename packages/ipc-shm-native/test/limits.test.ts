import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import type { IpcServer } from '@spanwire/ipc-core';
import { filter, firstValueFrom } from 'rxjs';
import { expect, onTestFinished, test } from 'vitest';
import { createShmClient, createShmServer, type ShmServerOptions } from '../src/index.ts';
import { start } from './support/children.ts';
import { eventually } from './support/eventually.ts';
import { clientHello, ended } from './support/peers.ts';
import { makeDirectory } from './support/place.ts';
import { holdingsOf, type Holdings } from './support/process.ts';
import { stateOf } from './support/served.ts';

const KiB = 1024;
const small = { requestRingBytes: 8 * KiB, responseRingBytes: 8 * KiB };
const overloaded = { code: 'ERR_IPC_OVERLOADED' };

async function listening(options: ShmServerOptions): Promise<{ server: IpcServer; address: string; path: string }> {
  const path = `${makeDirectory()}/s`;
  const server = createShmServer(`shm:${path}`, { ...small, ...options });
  onTestFinished(() => server.close());
  server.respond((_clientId, request) => request);
  await server.listen();
  return { server, address: `shm:${path}`, path };
}

async function connected(address: string) {
  const client = createShmClient(address);
  onTestFinished(() => client.close());
  await client.connect();
  return client;
}

/** A connection that says its hello and then nothing. */
async function greeting(path: string): Promise<Socket> {
  const socket = createConnection(path);
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  socket.write(Buffer.from(clientHello, 'hex'));
  await once(socket, 'data');
  return socket;
}

const holdings = (): Holdings => holdingsOf(process.pid);

test('a client beyond maxClients is refused, and taken as soon as one has closed or died', async () => {
  const { server, address } = await listening({ maxClients: 2 });
  const first = await connected(address);
  const victim = start('client.mjs', { address, task: 'stay' });
  expect(await victim.next()).toBe('connected');
  await expect(connected(address)).rejects.toMatchObject(overloaded);
  await first.close();
  const second = await connected(address);
  await expect(connected(address)).rejects.toMatchObject(overloaded);
  const gone = firstValueFrom(server.clients$.pipe(filter((event) => event.type === 'disconnected')));
  await victim.kill();
  expect(await gone).toMatchObject({ reason: 'gone' });
  const third = await connected(address);
  expect(await Promise.all([second, third].map((client) => client.request(new Uint8Array([7]))))).toHaveLength(2);
});

test('a client whose rings would exceed maxMemoryBytes is refused until another one has left', async () => {
  const { address } = await listening({
    maxMemoryBytes: 64 * KiB,
    requestRingBytes: 16 * KiB,
    responseRingBytes: 16 * KiB,
  });
  const [first, second] = [await connected(address), await connected(address)];
  await expect(connected(address)).rejects.toMatchObject(overloaded);
  await first.close();
  await connected(address);
  expect(await second.request(new Uint8Array(3))).toEqual(new Uint8Array(3));
});

test('memory of handshakes that are under way counts, and is given back when who began them leaves', async () => {
  // Nothing of the tests before.
  await eventually(() => holdings().mappings, 0);
  const { address, path } = await listening({ maxClients: 3, handshakeTimeoutMs: 2 ** 31 - 1 });
  const steady = await connected(address);
  const ofOne = holdings().mappings;
  expect(ofOne).toBeGreaterThan(0);
  const sockets = [await greeting(path), await greeting(path)];
  await expect(connected(address)).rejects.toMatchObject(overloaded);
  expect(await steady.request(new Uint8Array(3))).toEqual(new Uint8Array(3));
  for (const socket of sockets) socket.destroy();
  await eventually(() => holdings().mappings, ofOne);
  await Promise.all([connected(address), connected(address)]);
  // Nothing of the other two.
  expect(holdings().mappings).toBe(3 * ofOne);
});

test('a handshake that does not end is dropped after handshakeTimeoutMs, and leaves nothing', async () => {
  const path = `${makeDirectory()}/s`;
  const server = start('server.mjs', { address: `shm:${path}`, server: { ...small, handshakeTimeoutMs: 200 } });
  expect(await server.next()).toBe('listening');
  const before = holdingsOf(server.pid);
  for (const hello of ['', clientHello.slice(0, 20), clientHello]) {
    const socket = createConnection(path).resume();
    const end = ended(socket);
    if (hello !== '') socket.write(Buffer.from(hello, 'hex'));
    await end;
  }
  await eventually(() => holdingsOf(server.pid), before);
  expect(await stateOf(server)).toMatchObject({ came: [], left: [] });
});

test('connections that say nothing are bounded, and cost clients nothing', async () => {
  const { address, path } = await listening({ handshakeTimeoutMs: 2 ** 31 - 1 });
  const steady = await connected(address);
  const silent = Array.from({ length: 600 }, () => createConnection(path).resume());
  onTestFinished(() => silent.forEach((socket) => void socket.destroy()));
  const over = new Set<Socket>();
  for (const socket of silent) void ended(socket).then(() => over.add(socket));
  while (over.size < 600 - 512) expect(await steady.request(new Uint8Array(9))).toHaveLength(9);
  expect(over.size).toBe(600 - 512);
  for (const socket of silent) socket.destroy();
  while (over.size < 600) await steady.request(new Uint8Array(9));
  // All of them have left before: the server learns that first.
  expect(await (await connected(address)).request(new Uint8Array(2))).toHaveLength(2);
});

test('a server that runs out of descriptors refuses clients with a typed error, keeps those it has, and recovers', async () => {
  const address = `shm:${makeDirectory()}/s`;
  const server = start('server.mjs', { address, server: small }, { wrapper: ['prlimit', '--nofile=64:64'] });
  expect(await server.next()).toBe('listening');
  const steady = await connected(address);
  const results = await Promise.allSettled(Array.from({ length: 80 }, () => connected(address)));
  const clients = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  expect(clients.length).toBeGreaterThan(10);
  expect(clients.length).toBeLessThan(64);
  for (const result of results) {
    if (result.status === 'rejected') {
      expect(result.reason).toMatchObject({ code: expect.stringMatching(/SYSTEM|PEER_GONE/) });
    }
  }
  for (const client of [steady, ...clients]) expect(await client.request(new Uint8Array(4))).toHaveLength(4);
  await Promise.all(clients.map((client) => client.close()));
  while ((await stateOf(server)).stats.clients > 1);
  expect(await (await connected(address)).request(new Uint8Array(2))).toHaveLength(2);
  expect(server.errors).toBe('');
});

test('1,000 clients over the life of a server leave nothing behind, and no id comes twice', async () => {
  const { server, address } = await listening({});
  const ids = new Set<number>();
  server.clients$.subscribe((event) => {
    if (event.type === 'connected') ids.add(event.clientId);
  });
  const one = async (number: number): Promise<void> => {
    const client = createShmClient(address);
    await client.connect();
    const message = new Uint8Array(1 + (number % 5000)).fill(number);
    expect(Buffer.compare(await client.request(message), message)).toBe(0);
    await client.close();
  };
  await one(0);
  await eventually(() => server.stats.clients, 0);
  await eventually(() => holdings().mappings, 0);
  const before = holdings();
  for (let round = 0; round < 40; round++) {
    await Promise.all(Array.from({ length: 25 }, (_, i) => one(round * 25 + i)));
  }
  expect(ids.size).toBe(1_001);
  await eventually(holdings, before);
});

test('512 clients at once each get their own answers; the next one is refused', async () => {
  // They shake hands all at once, in this process: that takes as long as it takes.
  const patient = { handshakeTimeoutMs: 2 ** 31 - 1 };
  const { server, address } = await listening(patient);
  const clients = Array.from({ length: 512 }, () => createShmClient(address, patient));
  await Promise.all(clients.map((client) => client.connect()));
  expect(server.stats.clients).toBe(512);
  await expect(connected(address)).rejects.toMatchObject(overloaded);
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const asked = clients.flatMap((client, i) =>
    ['a', 'b', 'c'].map(async (j) => decode(await client.request(new TextEncoder().encode(`${i}${j}`)))),
  );
  expect(await Promise.all(asked)).toEqual(clients.flatMap((_, i) => ['a', 'b', 'c'].map((j) => `${i}${j}`)));
  await Promise.all(clients.map((client) => client.close()));
  await eventually(() => server.stats.clients, 0);
  await eventually(() => holdings().mappings, 0);
});
