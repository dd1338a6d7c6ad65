import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { BatchWriter, HIGH_WATER_MARK } from '../src/batch-writer.ts';
import { makePath } from './support/place.ts';
import { rawPeer, type RawPeer } from './support/raw.ts';
import { digest, pattern } from './support/wire.ts';

interface SetUp {
  writer: BatchWriter;
  socket: Socket;
  peer: RawPeer;
  /** What was called, in order. */
  calls: string[];
  send: (bytes: Uint8Array) => void;
}

async function setUpOn(highWaterMark: number, beforeFlush: (writer: BatchWriter) => void = () => {}): Promise<SetUp> {
  const path = makePath();
  const server = createServer();
  onTestFinished(() => void server.close());
  server.listen(path);
  await once(server, 'listening');
  const socket = connect({ path, highWaterMark } as { path: string });
  onTestFinished(() => void socket.destroy());
  const connected = once(socket, 'connect');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  await connected;
  const calls: string[] = [];
  const writer: BatchWriter = new BatchWriter(
    socket,
    () => {
      calls.push('before');
      beforeFlush(writer);
    },
    () => calls.push('after'),
  );
  return {
    writer,
    socket,
    peer: rawPeer(accepted),
    calls,
    send(bytes) {
      const at = writer.claim(bytes.length);
      writer.bytes.set(bytes, at);
    },
  };
}

describe.each([
  ['made for it', HIGH_WATER_MARK],
  ['made elsewhere', 16 * 1024],
])('the writer of a channel, on a socket %s', (_what, highWaterMark) => {
  const setUp = (beforeFlush?: (writer: BatchWriter) => void): Promise<SetUp> => setUpOn(highWaterMark, beforeFlush);

  test('writes nothing in the turn of a small claim, and all of the turn together after it', async () => {
    const { socket, peer, send, writer } = await setUp();
    send(pattern(100, 1));
    send(pattern(200, 2));
    expect(socket.bytesWritten).toBe(0);
    expect(writer.backlogBytes).toBe(300);
    expect(writer.idle).toBe(false);
    const [chunk] = (await once(peer.socket, 'data')) as [Buffer];
    expect(chunk.length).toBe(300);
    expect(writer.backlogBytes).toBe(0);
    expect(writer.idle).toBe(true);
  });

  test('lets a burst begin to leave before the turn ends', async () => {
    const { socket, peer, send } = await setUp();
    for (let i = 0; i < 100; i++) send(pattern(1000, i));
    expect(socket.bytesWritten).toBeGreaterThan(90_000);
    for (let i = 0; i < 100; i++) expect(await peer.read(1000)).toEqual(pattern(1000, i));
  });

  test('keeps order and bytes while the kernel takes no more, whatever the sizes', async () => {
    const { peer, send, writer, calls } = await setUp();
    peer.socket.pause();
    const sizes = Array.from({ length: 300 }, (_, i) => [1, 70, 5_000, 31_000, 33_000, 70_000, 0, 9][i % 8]!);
    for (const [i, size] of sizes.entries()) {
      send(pattern(size, i));
      // Now and then a turn ends.
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const total = sizes.reduce((sum, size) => sum + size, 0);
    expect(writer.backlogBytes).toBeGreaterThan(total / 2);
    peer.socket.resume();
    for (const [i, size] of sizes.entries()) expect(digest(await peer.read(size))).toBe(digest(pattern(size, i)));
    expect(writer.backlogBytes).toBe(0);
    expect(calls.at(-1)).toBe('after');
  });

  test('lets beforeFlush add to what leaves', async () => {
    let added = false;
    const { peer, send } = await setUp((writer) => {
      if (added) return;
      added = true;
      writer.bytes.set(pattern(5, 9), writer.claim(5));
    });
    send(pattern(3));
    const [chunk] = (await once(peer.socket, 'data')) as [Buffer];
    expect(digest(chunk)).toBe(digest(Buffer.concat([pattern(3), pattern(5, 9)])));
  });

  test('writes what was gathered when gathering ends, not before', async () => {
    const { socket, send, writer, peer } = await setUp();
    writer.gather();
    send(pattern(50));
    await new Promise((resolve) => setImmediate(resolve));
    expect(socket.bytesWritten).toBe(0);
    writer.gathered();
    expect(socket.bytesWritten).toBe(50);
    expect(await peer.read(50)).toEqual(pattern(50));
  });

  test('calls afterWrite outside of claim, whether the kernel takes everything at once or not', async () => {
    const { send, writer, calls, peer } = await setUp();
    for (let i = 0; i < 50; i++) send(pattern(1000));
    expect(calls).not.toContain('after');
    writer.flush();
    expect(calls.at(-1)).toBe('after');
    peer.socket.pause();
    calls.length = 0;
    for (let i = 0; i < 500; i++) send(pattern(10_000));
    writer.flush();
    expect(writer.idle).toBe(false);
    expect(calls).not.toContain('after');
    peer.socket.resume();
    while (!calls.includes('after')) await new Promise((resolve) => setImmediate(resolve));
    expect(writer.idle).toBe(true);
  });

  test('takes no more after stop, and drops what had not left', async () => {
    const { socket, send, writer, peer } = await setUp();
    send(pattern(10));
    writer.stop();
    await new Promise((resolve) => setImmediate(resolve));
    expect(socket.bytesWritten).toBe(0);
    expect(writer.idle).toBe(true);
    socket.end();
    expect(await peer.readToEnd()).toEqual(new Uint8Array(0));
  });
});
