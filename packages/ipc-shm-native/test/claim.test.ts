/** Records that are written in place, at the level of the channel and of the memory. */
import {
  helloOfClient,
  IpcError,
  KIND_CANCEL,
  KIND_REQUEST,
  resolveClientOptions,
  SpanReleasedError,
  type Channel,
  type Claim,
  type IpcClient,
  type IpcRequest,
  type IpcServer,
} from '@spanwire/ipc-core';
import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { createShmClient, createShmServer, shmConnect } from '../src/index.ts';
import { start } from './support/children.ts';
import { eventually } from './support/eventually.ts';
import { makeDirectory } from './support/place.ts';

const KiB = 1024;
const CAPACITY = 8 * KiB - 8;

type Claiming = Channel & Required<Pick<Channel, 'claim'>>;

interface Place {
  readonly server: IpcServer;
  readonly directory: string;
  /** Digests of the requests that came. */
  readonly came: string[];
}

/** A server that echoes through the smallest rings. */
async function place(): Promise<Place> {
  const directory = makeDirectory();
  const server = createShmServer('claims', { directory, requestRingBytes: 8 * KiB, responseRingBytes: 8 * KiB });
  onTestFinished(() => server.close());
  const came: string[] = [];
  server.respond((_clientId, request) => {
    came.push(digest(request));
    return request.slice(0, 8);
  });
  await server.listen();
  return { server, directory, came };
}

async function channelTo({ directory }: { readonly directory: string }, externalBuffers = true): Promise<Claiming> {
  const settings = resolveClientOptions();
  const connect = shmConnect('claims', { directory, externalBuffers })({ settings, hello: helloOfClient(settings) });
  const channel = await connect(new AbortController().signal);
  onTestFinished(() => channel.close('gone'));
  channel.onFrames = (frames) => {
    for (const frame of frames) frame.release();
  };
  return channel as Claiming;
}

async function clientOf({ directory }: { readonly directory: string }): Promise<IpcClient> {
  const client = createShmClient('claims', { directory });
  onTestFinished(() => client.close());
  await client.connect();
  return client;
}

function digest(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex');
}

/** A claim, as soon as there is room. */
async function claimed(channel: Claiming, id: number, bytes: number): Promise<Claim> {
  for (;;) {
    const claim = channel.claim(KIND_REQUEST, id, bytes);
    if (claim !== undefined) return claim;
    await new Promise<void>((resolve) => (channel.onRoom = resolve));
  }
}

test('what is written in place arrives at every offset of the ring, among records that are copied', async () => {
  const here = await place();
  const channel = await channelTo(here);
  const sent: string[] = [];
  let id = 1;
  for (let i = 0; i < 3000; i++) {
    // Every length of a record, so that the ring's end comes at every place of one.
    const bytes = new Uint8Array((i * 37) % 4000).fill(i);
    const claim = await claimed(channel, id, bytes.length);
    expect(claim.span.byteOffset % 8).toBe(0);
    claim.span.set(bytes);
    if (i % 3 === 2) claim.abort();
    else {
      claim.publish();
      id++;
      sent.push(digest(bytes));
    }
    const copied = new Uint8Array(i % 50).fill(~i);
    if (channel.trySend('data', KIND_REQUEST, id, 0, copied)) {
      id++;
      sent.push(digest(copied));
    }
  }
  await eventually(() => here.came.length, sent.length);
  expect(here.came).toEqual(sent);
});

test('while a claim is open data frames of any size are refused, control frames pass, and nobody is called', async () => {
  const here = await place();
  const channel = await channelTo(here);
  let rooms = 0;
  channel.onRoom = () => rooms++;
  for (const end of ['publish', 'abort'] as const) {
    const came = here.came.length;
    const claim = channel.claim(KIND_REQUEST, 1, 100)!;
    const view = claim.span.fill(7);
    for (const bytes of [0, 1, 100, 2000, CAPACITY]) {
      expect(channel.trySend('data', KIND_REQUEST, 2, 0, new Uint8Array(bytes).fill(9))).toBe(false);
    }
    expect(channel.trySend('control', KIND_CANCEL, 3, 0, new Uint8Array(0))).toBe(true);
    for (let i = 0; i < 50; i++) await turn();
    expect(rooms).toBe(0);
    expect(view.every((byte) => byte === 7)).toBe(true);
    expect(() => channel.claim(KIND_REQUEST, 4, 8)).toThrow(/one open claim at a time/);
    claim[end]();
    expect(rooms).toBe(0);
    await eventually(() => rooms, 1);
    rooms = 0;
    expect(() => claim.span).toThrow(SpanReleasedError);
    // Over is over.
    claim.publish();
    claim.abort();
    expect(channel.trySend('data', KIND_REQUEST, 5, 0, new Uint8Array(10))).toBe(true);
    const expected = [...(end === 'publish' ? [digest(new Uint8Array(100).fill(7))] : []), digest(new Uint8Array(10))];
    await eventually(() => here.came.slice(came), expected);
  }
});

test('a claim takes all that a ring holds, waits for nobody, and tells of room as a send does', async () => {
  const here = await place();
  const channel = await channelTo(here);
  expect(channel.capacityBytes).toBe(CAPACITY);
  expect(() => channel.claim(KIND_REQUEST, 1, CAPACITY + 1)).toThrow(RangeError);
  expect(() => channel.claim(KIND_CANCEL, 1, 4)).toThrow(TypeError);
  const whole = channel.claim(KIND_REQUEST, 1, CAPACITY)!;
  whole.span.fill(3);
  whole.publish();
  let rooms = 0;
  channel.onRoom = () => rooms++;
  expect(channel.claim(KIND_REQUEST, 2, 8)).toBeUndefined();
  await eventually(() => rooms, 1);
  channel.claim(KIND_REQUEST, 2, CAPACITY)!.publish();
  await eventually(() => here.came.length, 2);
  expect(here.came[0]).toBe(digest(new Uint8Array(CAPACITY).fill(3)));
});

test('a channel that copies has no claims', async () => {
  const channel = await channelTo(await place(), false);
  expect('claim' in channel).toBe(false);
});

test('a claim of a channel that closed writes nothing, and its bytes are nobody else’s', async () => {
  const here = await place();
  const channel = await channelTo(here);
  const claim = channel.claim(KIND_REQUEST, 1, 100)!;
  const { span } = claim;
  const closing = channel.close();
  claim.publish();
  await closing;
  expect(span.length).toBe(0);
  expect(() => claim.span).toThrow(SpanReleasedError);
  expect(channel.claim(KIND_REQUEST, 2, 4)).toBeUndefined();
  const open = (await channelTo(here)).claim(KIND_REQUEST, 1, 100)!;
  await here.server.close();
  await eventually(() => {
    try {
      return open.span.length;
    } catch (error) {
      return error instanceof SpanReleasedError;
    }
  }, true);
  open.publish();
  open.abort();
  expect(here.came).toEqual([]);
});

test('claims lie in the ring on both sides, up to a quarter of it, and beyond are memory of their own', async () => {
  const directory = makeDirectory();
  const server = createShmServer('claims', { directory, requestRingBytes: 8 * KiB, responseRingBytes: 8 * KiB });
  onTestFinished(() => server.close());
  const buffers: number[] = [];
  server.respond((_clientId, request, info) => {
    const { span } = info.claim(request.length)!;
    buffers.push(span.buffer.byteLength);
    span.set(request);
    return span;
  });
  await server.listen();
  const client = await clientOf({ directory });
  const segmentBytes = 32 * KiB;
  const withExtension = { timeoutMs: 100_000, metadata: new Map([['key', 'value']]) };
  for (const [options, largest] of [
    [undefined, 2048],
    [withExtension, 2000],
  ] as const) {
    for (const [bytes, inPlace] of [
      [8, true],
      [largest, true],
      [2049, false],
      [9000, false],
    ] as const) {
      const claim = client.claim(bytes, options)!;
      buffers.push(claim.span.buffer.byteLength);
      claim.span.fill(bytes);
      expect((await claim.publish()).every((byte) => byte === (bytes & 255))).toBe(true);
      expect(buffers.splice(0).map((buffer) => buffer >= segmentBytes)).toEqual([inPlace, inPlace]);
    }
  }
});

test('a client whose answers wait behind a claim is not taken for stalled, and one that reads nothing is', async () => {
  const directory = makeDirectory();
  const held: IpcRequest[] = [];
  const left: number[] = [];
  const server = createShmServer('claims', {
    directory,
    requestRingBytes: 8 * KiB,
    responseRingBytes: 8 * KiB,
    stalledClient: { afterMs: 40 },
  });
  onTestFinished(() => server.close());
  server.clients$.subscribe((event) => {
    if (event.type === 'disconnected') left.push(event.clientId);
  });
  server.requests$.subscribe((request) => {
    if (request.span[0] === 1) held.push(request);
    else request.respond(new Uint8Array(2000));
  });
  await server.listen();
  const client = await clientOf({ directory });
  const written = client.request(new Uint8Array([1]));
  await eventually(() => held.length, 1);
  const claim = held[0]!.claim(4)!;
  const waiting = client.request(new Uint8Array([2]));
  await eventually(() => server.stats.responses, 1);
  const deaf = await channelTo({ directory });
  deaf.onFrames = undefined;
  for (let id = 1; id <= 10; id++) deaf.trySend('data', KIND_REQUEST, id, 0, new Uint8Array(1));
  await eventually(() => left, [2]);
  claim.span.fill(9);
  expect(claim.publish()).toBe(true);
  expect([...(await written)]).toEqual([9, 9, 9, 9]);
  expect(await waiting).toHaveLength(2000);
});

test('a server that dies with a claim open at its client: publishing says that it is gone', async () => {
  const directory = makeDirectory();
  const address = `shm:${directory}/s`;
  const server = start('server.mjs', { address });
  await server.next();
  const client = createShmClient(address, { reconnect: { delaysMs: [1] } });
  onTestFinished(() => client.close());
  await client.connect();
  const claim = client.claim(100)!;
  const { span } = claim;
  let connected = true;
  client.state$.subscribe((state) => (connected = state === 'connected'));
  await server.kill();
  await eventually(() => connected, false);
  expect(span.length).toBe(0);
  expect(client.claim(4)).toBeUndefined();
  const failure: unknown = await claim.publish().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(IpcError);
  expect(failure).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(client.stats.pending).toBe(0);
});
