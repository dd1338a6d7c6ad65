/** Peers that break the rules, or do not read: they cost their own connection, and nothing else. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Packr } from 'msgpackr';
import { expect, onTestFinished, test } from 'vitest';
import { encodeHello, KIND_ONE_WAY, KIND_ITEM, packKindAndId, packLength } from '@spanwire/ipc-core';
import { SESSION_HELLO } from '../src/session.ts';
import type { Service } from './fixtures/service.mjs';
import { startServer, temporaryFolder, testIpc } from './support.ts';

const packr = new Packr({ useRecords: false });
const MORE = 2;

/** Speaks the frames of a session, but means no good. */
async function connectRaw(address: string): Promise<Socket> {
  const socket = connect(address.slice('unix:'.length));
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const hello = {
    windowBytes: 65_536,
    streamWindowBytes: 65_536,
    maxMessageBytes: 1_000_000,
    pushes: true,
    streams: true,
  };
  socket.write(encodeHello({ ...hello, application: SESSION_HELLO }));
  await once(socket, 'data');
  return socket;
}

/** Unlike `once`, it takes a reset of the connection for what it is: one way of closing it. */
function happens(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve) => socket.once(event, () => resolve()));
}

function frame(payload: Uint8Array, kind = KIND_ONE_WAY, id = 0, flags = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(packLength(payload.byteLength, flags), 0);
  header.writeUInt32LE(packKindAndId(kind, id), 4);
  return Buffer.concat([header, payload]);
}

function message(value: unknown): Buffer {
  return frame(packr.pack(value));
}

const total = Buffer.alloc(8);
total.writeUInt32LE(1_000_000_000, 0);

const crimes: ReadonlyArray<readonly [string, Buffer]> = [
  ['bytes that are no MessagePack', frame(Buffer.from([0xc1]))],
  ['a message cut short', frame(packr.pack(['push', ['pipeline', 0, ['init'], []]]).subarray(0, 9))],
  ['a message with something behind it', frame(Buffer.from([1, 2]))],
  ['lists nested without end', frame(Buffer.alloc(60_000, 0x91))],
  ['no list', message({ a: 1 })],
  ['an empty message', frame(Buffer.alloc(0))],
  ['a frame of another kind', frame(packr.pack(['pull', 1]), KIND_ITEM, 1)],
  ['a fragment of a message that is too large', frame(total, KIND_ONE_WAY, 0, MORE)],
  ['a message that no session knows', message(['nonsense', 1])],
  ['the release of what was never given', message(['release', 77, 1])],
  ['a pull of what is not there', message(['pull', 99])],
  [
    'a tag that nobody knows',
    frame(packr.pack(['resolve', 1, ['error', Buffer.from('["odd"]'), 'x']]), KIND_ONE_WAY, 1),
  ],
  ['a tag that is no JSON', frame(packr.pack(['push', ['error', Buffer.from([0xff]), 'x']]), KIND_ONE_WAY, 1)],
];

test('whoever breaks the rules is disconnected, and the others notice nothing', async () => {
  const dataDir = temporaryFolder();
  const { address } = await startServer('unix', dataDir);
  const service = (await testIpc({ dataDir }).connectAddress<Service>('unix'))!;
  for (const [crime, bytes] of crimes) {
    const socket = await connectRaw(address);
    const ended = happens(socket.resume(), 'close');
    socket.write(bytes);
    await ended;
    expect([crime, await service.add(1, 1)]).toEqual([crime, 2]);
  }
});

test('a peer that calls and takes no answers is disconnected before they fill the memory', async () => {
  const dataDir = temporaryFolder();
  const { address } = await startServer('unix', dataDir, undefined, { maxQueuedBytes: 2 ** 20 });
  const service = (await testIpc({ dataDir }).connectAddress<Service>('unix'))!;
  const socket = await connectRaw(address);
  // It never gives the window of 64 KiB back.
  socket.resume();
  socket.write(message(['push', ['pipeline', 0, ['init'], []]]));
  let calls = 0;
  while (!socket.destroyed) {
    const batch: Buffer[] = [];
    for (let i = 0; i < 500; i++) {
      const id = 2 + calls++;
      batch.push(
        message(['push', ['pipeline', 1, ['produceBytes'], [id < 10 ? 500_000 : 100]]]),
        message(['pull', id]),
      );
    }
    socket.write(Buffer.concat(batch));
    if (socket.writableNeedDrain) await Promise.race([happens(socket, 'drain'), happens(socket, 'close')]);
    else await new Promise((resolve) => setImmediate(resolve));
  }
  // The first megabyte is queued, the next one is of answers that only say so; then it is enough.
  expect(calls).toBeGreaterThan(10_000);
  expect(await service.add(2, 2)).toBe(4);
});

test('many large messages share the memory for receiving them, and each connection keeps its order', async () => {
  const dataDir = temporaryFolder();
  const options = { maxMessageBytes: 400_000, maxReassemblyBytes: 400_000, windowBytes: 16_384 };
  await startServer('unix', dataDir, undefined, options);
  const sizes = [300_000, 10, 399_000, 1, 20_000, 350_000, 5];
  await Promise.all(
    Array.from({ length: 5 }, async () => {
      const service = (await testIpc({ dataDir }).connectAddress<Service>('unix'))!;
      const order: number[] = [];
      const answers = sizes.map(async (size) => {
        const bytes = (await service.echo(new Uint8Array(size))) as Uint8Array;
        order.push(bytes.byteLength);
      });
      await Promise.all(answers);
      expect(order).toEqual(sizes);
    }),
  );
});
