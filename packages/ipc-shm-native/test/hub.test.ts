import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addon, type NativeFailure } from '../src/addon.ts';
import { Party, type Line } from './fixtures/hub-party.mjs';
import { eventually } from './support/eventually.ts';
import { holdingsOf, sharedBytesOf } from './support/process.ts';

let folder = '';
let path = '';
const open: Party[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spanwire-hub-'));
  path = join(folder, 's');
});
afterEach(() => {
  for (const party of open.splice(0)) party.hub.close();
  rmSync(folder, { recursive: true });
});

/** Promise.withResolvers, which Node 20 lacks. */
function later<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

type Options = ConstructorParameters<typeof Party>[1];
function party(isServer: boolean, options: Options): Party {
  const made = new Party(isServer, options);
  open.push(made);
  return made;
}

interface Connected {
  readonly server: Party;
  readonly client: Party;
  readonly serverLine: Line;
  readonly line: Line;
}

/** A server that echoes and a client that is connected to it, both live. */
async function connected(options: Options = {}): Promise<Connected> {
  const [serverLive, clientLive] = [later<Line>(), later<Line>()];
  const echo = (line: Line, payload: Uint8Array, id: number): void => void line.send(payload, id);
  const server = party(true, { ...options, frame: echo, live: serverLive.resolve });
  server.listen(path);
  const client = party(false, { ...options, live: clientLive.resolve });
  client.connect(path);
  return { server, client, serverLine: await serverLive.promise, line: await clientLive.promise };
}

const failure = (body: () => void): NativeFailure => {
  try {
    body();
  } catch (error) {
    return error as NativeFailure;
  }
  throw new Error('Expected a failure');
};

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
/** Of connections: of workers that end while they load their modules, Node itself forgets the files that were just being read. */
function connectionsHeld() {
  const { mappings, descriptors } = holdingsOf(process.pid);
  return { mappings, sockets: descriptors['socket'], pollers: descriptors['anon_inode'] };
}

for (const wakesBy of ['loop', 'thread'] as const) {
  test(`woken by a ${wakesBy}, two hubs exchange every size up to the whole ring, in order`, async () => {
    const { client, line } = await connected({ wakesBy });
    const lengths = [...Array.from({ length: 300 }, (_, i) => (i * 37) % 900), 8184, 0, 8184];
    const { promise, resolve } = later();
    let at = 0;
    const next = (): void => {
      line.ask(new Uint8Array(lengths[at] ?? 0).fill(at), at);
    };
    client.events.frame = (_, payload, id) => {
      expect(id).toBe(at);
      expect(payload.byteLength).toBe(lengths[at]);
      expect(payload.every((byte) => byte === (at & 255))).toBe(true);
      at += 1;
      // Outside of the callback: the answer's bytes are released only after it, and the next one needs the whole ring.
      if (at < lengths.length) setImmediate(next);
      else resolve();
    };
    next();
    await promise;
  });

  for (const [what, printed] of [
    ['exit', 'exit after 200'],
    ['throw', 'caught: thrown in a callback\nthrow after 200'],
    ['unref', 'unref after 200'],
    ['close', 'close after 200'],
    ['close-inside', 'close-inside after 200'],
  ] as const) {
    test(`woken by a ${wakesBy}, a process ends by itself after ${what}`, async () => {
      const run = promisify(execFile)(process.execPath, [fixture('hub-exit.mjs'), what, path, wakesBy]);
      const ended = await run.catch((error: unknown) => error as { stdout: string; code: number });
      const { stdout, code } = { code: 0, ...ended };
      expect(stdout.trim()).toBe(printed);
      expect(code).toBe(what === 'exit' ? 7 : 0);
    });
  }

  test(`woken by a ${wakesBy}, workers can be terminated at any moment, and leave nothing behind`, async () => {
    const before = connectionsHeld();
    for (let round = 0; round < 12; round++) {
      const address = join(folder, `w${round}`);
      const server = new Worker(fixture('hub-worker.mjs'), { workerData: { isServer: true, path: address, wakesBy } });
      await once(server, 'message');
      const client = new Worker(fixture('hub-worker.mjs'), { workerData: { isServer: false, path: address, wakesBy } });
      // Some in the middle of their traffic, some in the middle of the handshake.
      if (round % 4 !== 0) await once(client, 'message');
      for (let turns = (round * 7) % 20; turns > 0; turns--) await new Promise(setImmediate);
      await Promise.all(
        round % 2 === 0 ? [server.terminate(), client.terminate()] : [client.terminate(), server.terminate()],
      );
    }
    await eventually(connectionsHeld, before);
  });
}

test('the blocking form returns batches, and 0 when its time is over and not before', async () => {
  const server = party(true, { frame: (line, payload, id) => line.send(payload, id) });
  server.listen(path);
  const client = party(false, { wakesBy: 'nothing' });
  const slot = client.connect(path);
  const step = async (): Promise<void> => {
    await new Promise(setImmediate); // the server's turn: it is in this thread
    client.handle(client.hub.wait(1));
  };
  while (client.lines.size === 0) await step();
  const echoes: number[] = [];
  client.events.frame = (_, payload, id) => echoes.push(id + payload.byteLength);
  const line = client.lines.get(slot)!;
  for (let id = 0; id < 50; id++) {
    line.ask(new Uint8Array(id), id);
    while (echoes.length === id) await step();
  }
  expect(echoes).toEqual(Array.from({ length: 50 }, (_, id) => 2 * id));
  const begin = process.hrtime.bigint();
  expect(client.hub.wait(30)).toBe(0);
  expect(Number(process.hrtime.bigint() - begin)).toBeGreaterThanOrEqual(30e6);
});

test('closing detaches the buffer, so that views read length 0, and gives the memory back although they are kept', async () => {
  const ringBytes = 128 * 1024 * 1024;
  const { client, server, line } = await connected({ ringBytes });
  const before = sharedBytesOf('self');
  line.out.fill(1);
  const view = new Uint8Array(line.buffer, 0, 4096);
  expect(sharedBytesOf('self') - before).toBeGreaterThan(ringBytes / 2);
  client.hub.close();
  server.hub.close();
  expect(sharedBytesOf('self') - before).toBeLessThan(ringBytes / 8);
  expect(view.byteLength).toBe(0);
  expect(line.buffer.byteLength).toBe(0);
  expect(line.out.byteLength).toBe(0);
});

test('a peer that goes away is reported once everything it sent was', async () => {
  const { client, server, line } = await connected();
  const seen: Array<number | string> = [];
  const { promise, resolve } = later();
  server.events.frame = (_, _payload, id) => seen.push(id);
  server.events.over = (_, why) => {
    seen.push(why);
    resolve();
  };
  for (let id = 0; id < 100; id++) line.send(new Uint8Array(8), id);
  client.hub.close();
  await promise;
  expect(seen).toEqual([...Array(100).keys(), 'closed']);
});

test('room that was wanted is reported when the peer released it', async () => {
  const { client, server, serverLine, line } = await connected();
  server.hub.pause(serverLine.slot, true);
  let sent = 0;
  while (line.send(new Uint8Array(1000), sent)) sent += 1;
  const { promise, resolve } = later<Line>();
  client.events.room = resolve;
  expect(line.wantRoom(1000)).toBe(false);
  server.hub.pause(serverLine.slot, false);
  expect(await promise).toBe(line);
  expect(line.send(new Uint8Array(1000), sent)).toBe(true);
});

test('memory that cannot be reserved, and an address in use, are errors that say so', async () => {
  const first = party(true, {});
  first.listen(path);
  const second = party(true, {});
  expect(failure(() => second.listen(path))).toMatchObject({ kind: 'system', operation: 'bind', errno: 98 });
  const slot = second.hub.connect(path, 0);
  expect(failure(() => second.hub.createMemory(slot, 8192, 8192, true))).toMatchObject({
    kind: 'system',
    operation: 'fallocate',
    errno: 28,
  });
  expect(failure(() => second.hub.connect(join(folder, 'nobody'), 0))).toMatchObject({
    operation: 'connect',
    errno: 2,
  });
});

test('functions of a closed hub, and slots that are not there, do nothing or throw a TypeError', () => {
  const { hub } = party(true, {});
  for (const body of [
    () => hub.sendHandshake(5, new Uint8Array(1), false),
    () => hub.createMemory(5, 8192, 8192, false),
    () => hub.memory(5, true),
    () => hub.goLive(5, true),
    () => hub.read(5, 0, 0, new Uint8Array(1)),
  ]) {
    expect(body).toThrow(TypeError);
  }
  hub.close();
  expect(() => hub.connect(path, 0)).toThrow(TypeError);
  expect(() => hub.bind(path, 0o600)).toThrow(TypeError);
  hub.ring(5);
  hub.remove(5);
  hub.pause(5, true);
  hub.kick(5);
  hub.ref();
  hub.unref();
  hub.stopListening();
  expect([hub.collect(), hub.look(), hub.wantRoom(5, 0, 0), hub.write(5, 0, 0, 0, new Uint8Array(1), 0)]).toEqual([
    0,
    0,
    false,
    -1,
  ]);
});

test('this runtime allows external buffers, which is what the other tests build on', () => {
  expect(addon().hasExternalBuffers()).toBe(true);
});
