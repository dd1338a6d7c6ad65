import { expect, onTestFinished, test } from 'vitest';
import { createMemoryClient, createMemoryServer, memoryConnect } from '../src/index.ts';
import { bytesOf, textOf } from '../src/testing/payloads.ts';

test('names are strings that are not empty', () => {
  for (const bad of ['', undefined, 5] as unknown[]) {
    for (const make of [createMemoryServer, createMemoryClient, memoryConnect]) {
      expect(() => make(bad as string)).toThrow(/^Expected `name` to be a string that is not empty, got /);
    }
  }
});

test('its errors name the address', async () => {
  await expect(createMemoryClient('nobody').connect()).rejects.toThrow('Nobody listens on memory:nobody');
  const server = createMemoryServer('taken');
  onTestFinished(() => server.close());
  await server.listen();
  await expect(createMemoryServer('taken').listen()).rejects.toThrow('Another server listens on memory:taken');
});

test('it has no takeover', async () => {
  await expect(createMemoryServer('takeover').listen({ takeover: true })).rejects.toMatchObject({
    code: 'ERR_IPC_UNSUPPORTED',
  });
});

test('servers of different names know nothing of each other', async () => {
  const servers = ['one', 'two'].map((name) => {
    const server = createMemoryServer(name);
    onTestFinished(() => server.close());
    server.respond((_id, request) => bytesOf(`${name} ${textOf(request)}`));
    return server;
  });
  await Promise.all(servers.map((server) => server.listen()));
  for (const name of ['one', 'two']) {
    await using client = createMemoryClient(name);
    await client.connect();
    expect(textOf(await client.request(bytesOf('here')))).toBe(`${name} here`);
  }
});

test('two sides that answer each other for ever leave the event loop its turns', async () => {
  await using server = createMemoryServer('ping-pong');
  server.respond((_id, request) => request);
  await server.listen();
  await using client = createMemoryClient('ping-pong');
  await client.connect();
  let trips = 0;
  const stop = new AbortController();
  const loop = (async () => {
    while (!stop.signal.aborted) {
      await client.request(bytesOf('again'));
      trips++;
    }
  })();
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setTimeout(resolve, 1));
  stop.abort();
  await loop;
  expect(trips).toBeGreaterThan(0);
});
