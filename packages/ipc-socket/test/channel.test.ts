import { once } from 'node:events';
import {
  createClient,
  createServer,
  KIND_CANCEL,
  KIND_CREDIT,
  KIND_GOAWAY,
  KIND_ONE_WAY,
  KIND_REQUEST,
  KIND_RESPONSE,
  type Channel,
  type ClientContext,
  type ClientOptions,
  type Frame,
  type ServerContext,
  type ServerOptions,
} from '@spanwire/ipc-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { socketConnect, socketListener, type Framing } from '../src/index.ts';
import { makePath } from './support/place.ts';
import { greet, HELLO } from './support/raw.ts';
import { concat, digest, encodeFrame, pattern } from './support/wire.ts';

const KiB = 1024;
const NOTHING = new Uint8Array(0);

/** What a server would hand to its listener. */
function serverContext(options: ServerOptions): ServerContext {
  let context: ServerContext | undefined;
  createServer((made) => {
    context = made;
    return socketListener('/unused')(made);
  }, options);
  return context!;
}

/** What a client would hand to its connect function. */
function clientContext(options: ClientOptions): ClientContext {
  let context: ClientContext | undefined;
  createClient((made) => {
    context = made;
    return () => Promise.reject(new Error('unused'));
  }, options);
  return context!;
}

interface Options {
  framing?: Framing;
  server?: ServerOptions;
  client?: ClientOptions;
}

async function listen(options: ServerOptions = {}): Promise<{ path: string; accepted: Promise<Channel> }> {
  const path = makePath();
  const listener = socketListener(path)(serverContext(options));
  onTestFinished(() => listener.close());
  const accepted = new Promise<Channel>((resolve) => (listener.onChannel = resolve));
  await listener.listen({ takeover: false });
  return { path, accepted };
}

/** Two ends of one connection. */
async function pair({ framing = 'spanwire', server = {}, client = {} }: Options = {}) {
  const { path, accepted } = await listen(server);
  const near = await socketConnect(path, { framing })(clientContext(client))(new AbortController().signal);
  // A plain peer is known by its first message.
  if (framing === 'plain') near.trySend('data', KIND_REQUEST, 0, 0, NOTHING);
  const far = await accepted;
  onTestFinished(() => Promise.all([near.close('gone'), far.close('gone')]).then(() => undefined));
  return { near, far };
}

/** Gathers frames; `release` is called for each. */
function gather(
  channel: Channel,
  release = true,
): { frames: Frame[]; digests: string[]; count: (n: number) => Promise<void> } {
  const frames: Frame[] = [];
  const digests: string[] = [];
  let wake = (): void => {};
  channel.onFrames = (batch) => {
    for (const frame of batch) {
      frames.push(frame);
      digests.push(digest(frame.payload));
      if (release) frame.release();
    }
    wake();
  };
  return {
    frames,
    digests,
    async count(n) {
      while (frames.length < n) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

function closing(channel: Channel): Promise<{ reason: string; error: Error | undefined }> {
  return new Promise((resolve) => {
    channel.onClosed = (reason, error) => resolve({ reason, error });
  });
}

/** Sends until the channel refuses; returns how many went out. */
function fill(channel: Channel, kind: number, payload: Uint8Array): number {
  let sent = 0;
  while (channel.trySend('data', kind, sent + 1, 0, payload)) sent++;
  return sent;
}

describe.each(['spanwire', 'plain'] as const)('a channel with %s framing', (framing) => {
  test('copies what is sent: the payload may be reused at once, small or large', async () => {
    const { near, far } = await pair({ framing });
    const { digests, count } = gather(far);
    const first = framing === 'plain' ? 1 : 0;
    const sizes = [1, 100, 31 * KiB, 33 * KiB, 64 * KiB, 200 * KiB, 0, 5];
    for (const [i, size] of sizes.entries()) {
      const payload = pattern(size, i);
      expect(near.trySend('data', KIND_REQUEST, i, 0, payload)).toBe(true);
      payload.fill(0xee);
    }
    await count(first + sizes.length);
    expect(digests.slice(first)).toEqual(sizes.map((size, i) => digest(pattern(size, i))));
  });

  test('refuses data at a peer that does not read, takes it when that one does, and never calls back from inside trySend', async () => {
    const { near, far } = await pair({ framing, server: { windowBytes: 64 * KiB } });
    near.onFrames = () => {};
    let inside = false;
    let rooms = 0;
    let room = (): void => {};
    near.onRoom = () => {
      expect(inside).toBe(false);
      rooms++;
      room();
    };
    const total = 400;
    let sent = 0;
    const push = (): void => {
      inside = true;
      while (sent < total && near.trySend('data', KIND_REQUEST, sent + 1, 0, pattern(10_000, sent))) sent++;
      inside = false;
    };
    push();
    expect(sent).toBeLessThan(total);
    expect(rooms).toBe(0);
    room = push;
    const first = framing === 'plain' ? 1 : 0;
    const { digests, count } = gather(far);
    await count(first + total);
    expect(rooms).toBeGreaterThan(0);
    expect(digests.slice(first)).toEqual(Array.from({ length: total }, (_, i) => digest(pattern(10_000, i))));
  });

  test('holds what arrives until somebody takes frames', async () => {
    const { near, far } = await pair({ framing });
    const { count, digests } = gather(near);
    for (let i = 0; i < 3; i++) far.trySend('data', KIND_RESPONSE, i, 0, pattern(50, i));
    await count(3);
    expect(digests).toEqual([0, 1, 2].map((i) => digest(pattern(50, i))));
  });

  test('delivers everything that was sent before close, and then says "closed", once', async () => {
    const { near, far } = await pair({ framing });
    const order: string[] = [];
    far.onFrames = (batch) => {
      order.push(...batch.map(() => 'frame'));
      for (const frame of batch) frame.release();
    };
    const closed = new Promise<void>((resolve) => {
      far.onClosed = (reason) => {
        order.push(reason);
        resolve();
      };
    });
    near.onFrames = () => {};
    for (let i = 0; i < 8; i++) expect(near.trySend('data', KIND_ONE_WAY, 0, 0, pattern(100_000))).toBe(true);
    const nearClosed = closing(near);
    await near.close();
    expect(await nearClosed).toEqual({ reason: 'closed', error: undefined });
    await closed;
    const data = order.filter((what) => what === 'frame').length;
    // The empty first message of a plain peer, or the goaway of an orderly close.
    expect(data).toBe(9);
    expect(order.at(-1)).toBe('closed');
    expect(near.trySend('data', KIND_ONE_WAY, 0, 0, NOTHING)).toBe(false);
    expect(near.trySend('control', KIND_CANCEL, 1, 0, NOTHING)).toBe(false);
    await near.close();
  });

  test('closes without a flush for any other reason, and the peer sees it gone', async () => {
    const { near, far } = await pair({ framing });
    near.onFrames = () => {};
    far.onFrames = () => {};
    const nearClosed = closing(near);
    const farClosed = closing(far);
    await near.close('stalled');
    expect(await nearClosed).toMatchObject({ reason: 'stalled' });
    const { reason } = await farClosed;
    // A plain stream that ends between messages cannot be told from an orderly one.
    expect(reason).toBe(framing === 'plain' ? 'closed' : 'gone');
  });

  test('gives up a flush to a peer that does not read after graceMs', async () => {
    const { near } = await pair({ framing, client: { graceMs: 30 }, server: { windowBytes: 4 * 1024 * KiB } });
    near.onFrames = () => {};
    expect(fill(near, KIND_REQUEST, pattern(60_000))).toBeGreaterThan(5);
    const closed = closing(near);
    await near.close();
    expect((await closed).reason).toBe('closed');
  });

  test('throws a RangeError on what can never pass', async () => {
    const { near } = await pair({
      framing,
      server: { windowBytes: 8 * KiB },
      client: { maxMessageBytes: 8 * KiB - 8 },
    });
    expect(near.capacityBytes).toBe(8 * KiB - 8);
    expect(near.trySend('data', KIND_REQUEST, 1, 0, pattern(near.capacityBytes))).toBe(true);
    expect(() => near.trySend('data', KIND_REQUEST, 1, 0, pattern(near.capacityBytes + 1))).toThrow(RangeError);
  });

  test('keeps frames that are held valid after it was closed', async () => {
    const { near, far } = await pair({ framing });
    const first = framing === 'plain' ? 1 : 0;
    const { frames, count } = gather(far, false);
    near.trySend('data', KIND_REQUEST, 1, 0, pattern(500));
    await count(first + 1);
    await far.close('gone');
    const frame = frames.at(-1)!;
    expect(digest(frame.payload)).toBe(digest(pattern(500)));
    for (const held of frames) held.release();
  });
});

describe('the window of a channel', () => {
  test('is spent frame by frame, 64 bytes at least, and comes back with releases', async () => {
    const { near, far } = await pair({ server: { windowBytes: 8 * KiB } });
    near.onFrames = () => {};
    const { frames, count } = gather(far, false);
    expect(fill(near, KIND_REQUEST, NOTHING)).toBe(128);
    await count(128);
    let room = new Promise<void>((resolve) => (near.onRoom = resolve));
    for (const frame of frames.slice(0, 16)) frame.release();
    await room;
    expect(fill(near, KIND_REQUEST, NOTHING)).toBe(16);
    room = new Promise<void>((resolve) => (near.onRoom = resolve));
    // A single small release counts as well while the rest is held: the sender may wait for just that.
    frames[16]?.release();
    await room;
    expect(fill(near, KIND_REQUEST, NOTHING)).toBe(1);
  });

  test('does not hold back control frames, neither to be sent nor to be received', async () => {
    const { near, far } = await pair({ server: { windowBytes: 8 * KiB } });
    const { frames, count } = gather(far, false);
    expect(fill(near, KIND_REQUEST, pattern(1000))).toBe(8);
    for (let i = 1; i <= 100; i++) expect(near.trySend('control', KIND_CANCEL, i, 0, NOTHING)).toBe(true);
    expect(near.trySend('control', KIND_CREDIT, 7, 0, pattern(4))).toBe(true);
    await count(8 + 101);
    expect(frames.slice(8, 108).every(({ kind }) => kind === KIND_CANCEL)).toBe(true);
    expect(frames.at(-1)).toMatchObject({ kind: KIND_CREDIT, id: 7 });
    expect(near.trySend('data', KIND_REQUEST, 9, 0, pattern(1000))).toBe(false);
  });

  test('does not let a peer with a huge window that never reads fill the memory', async () => {
    const { path, accepted } = await listen({ responseWindowBytes: 256 * KiB });
    const peer = await greet(path, { ...HELLO, windowBytes: 2 ** 30 });
    peer.socket.pause();
    const channel = await accepted;
    channel.onFrames = () => {};
    expect(channel.capacityBytes).toBe(2 ** 30 - 8);
    const sent = fill(channel, KIND_RESPONSE, pattern(10_000));
    // What may wait here, and what the kernel took.
    expect(sent * 10_000).toBeLessThan(4 * 1024 * KiB);
    const room = new Promise<void>((resolve) => (channel.onRoom = resolve));
    peer.socket.resume();
    await room;
    expect(channel.trySend('data', KIND_RESPONSE, 1, 0, pattern(10_000))).toBe(true);
  });

  test('passes flags and ids unchanged', async () => {
    const { near, far } = await pair();
    const { frames, count } = gather(far, false);
    near.trySend('data', KIND_REQUEST, 2 ** 28 - 1, 3, pattern(16));
    near.trySend('data', KIND_ONE_WAY, 0, 1, pattern(8));
    await count(2);
    expect(frames[0]).toMatchObject({ kind: KIND_REQUEST, id: 2 ** 28 - 1, flags: 3 });
    expect(frames[1]).toMatchObject({ kind: KIND_ONE_WAY, id: 0, flags: 1 });
  });

  test('is no excuse for the wrong lane, or for control frames over 64 bytes', async () => {
    const { near } = await pair();
    expect(() => near.trySend('data', KIND_CANCEL, 1, 0, NOTHING)).toThrow(TypeError);
    expect(() => near.trySend('control', KIND_REQUEST, 1, 0, NOTHING)).toThrow(TypeError);
    expect(() => near.trySend('control', KIND_GOAWAY, 0, 0, pattern(65))).toThrow(RangeError);
  });

  test('sends one write per turn, whatever was sent in it', async () => {
    const { path, accepted } = await listen();
    const peer = await greet(path);
    const channel = await accepted;
    channel.onFrames = () => {};
    const chunks: Buffer[] = [];
    peer.socket.on('data', (chunk) => chunks.push(chunk));
    const expected = concat(
      Array.from({ length: 50 }, (_, id) => encodeFrame({ kind: KIND_RESPONSE, id, flags: 0, payload: pattern(20) })),
    );
    for (let id = 0; id < 25; id++) channel.trySend('data', KIND_RESPONSE, id, 0, pattern(20));
    // Microtasks belong to the turn.
    await Promise.resolve();
    for (let id = 25; id < 50; id++) channel.trySend('data', KIND_RESPONSE, id, 0, pattern(20));
    await once(peer.socket, 'data');
    expect(chunks.length).toBe(1);
    expect(digest(chunks[0]!)).toBe(digest(expected));
  });
});
