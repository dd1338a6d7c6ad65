import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { MessageChannel, Worker } from 'node:worker_threads';
import { SpanReleasedError, type IpcRequest } from '@spanwire/ipc-core';
import { expect, onTestFinished, test } from 'vitest';
import { createShmClient, createShmServer } from '../src/index.ts';
import { start } from './support/children.ts';
import { eventually } from './support/eventually.ts';
import { makeDirectory } from './support/place.ts';
import { holdingsOf, sharedBytesOf } from './support/process.ts';
import { stateOf } from './support/served.ts';

const MiB = 1024 * 1024;

test('memory that cannot be reserved refuses that client with a typed error, and nothing stays mapped', async () => {
  const address = `shm:${makeDirectory()}/s`;
  const server = createShmServer(address, { failReserve: true });
  onTestFinished(() => server.close());
  server.respond((_clientId, request) => request);
  await server.listen();
  for (let attempt = 0; attempt < 3; attempt++) {
    const client = createShmClient(address);
    await expect(client.connect()).rejects.toMatchObject({
      code: 'ERR_IPC_SYSTEM',
      message: expect.stringContaining('ENOSPC from fallocate'),
    });
  }
  expect(server.stats.clients).toBe(0);
  await eventually(() => holdingsOf(process.pid).mappings, 0);
});

test('a limit on the size of files refuses clients with a typed error; the server goes on, and serves once there is room', async () => {
  const address = `shm:${makeDirectory()}/s`;
  // Only the soft limit, so that it can be raised again.
  const server = start('server.mjs', { address }, { wrapper: ['prlimit', `--fsize=${MiB}:`] });
  expect(await server.next()).toBe('listening');
  for (let attempt = 0; attempt < 3; attempt++) {
    await expect(createShmClient(address).connect()).rejects.toMatchObject({
      code: 'ERR_IPC_SYSTEM',
      message: expect.stringContaining('EFBIG from fallocate'),
    });
  }
  expect((await stateOf(server)).stats.clients).toBe(0);
  expect(holdingsOf(server.pid).mappings).toBe(0);
  await promisify(execFile)('prlimit', [`--pid=${server.pid}`, '--fsize=unlimited:']);
  const client = createShmClient(address);
  onTestFinished(() => client.close());
  await client.connect();
  expect(await client.request(new Uint8Array(5))).toHaveLength(5);
});

test('close() gives 256 MiB of rings back although views are kept, and those views have length 0', async () => {
  const address = `shm:${makeDirectory()}/s`;
  const ringBytes = 128 * MiB;
  const server = createShmServer(address, { requestRingBytes: ringBytes, responseRingBytes: ringBytes });
  onTestFinished(() => server.close());
  let kept: { request: IpcRequest; view: Uint8Array } | undefined;
  server.respond((_clientId, data, request) => {
    kept ??= { request, view: request.span };
    return kept.request === request ? new Promise(() => undefined) : data;
  });
  await server.listen();
  const before = sharedBytesOf('self');
  const client = createShmClient(address);
  await client.connect();
  void client.request(new Uint8Array(100)).catch(() => undefined);
  // Every page of both rings is used, on both sides, up to the request that is not released.
  const data = new Uint8Array(8 * MiB).fill(1);
  for (let sent = 0; sent + 2 * data.length < ringBytes; sent += data.length) await client.request(data);
  const reply = await client.exchange(new Uint8Array(1000).fill(3));
  const { span } = reply;
  expect([span.length, kept?.view.length]).toEqual([1000, 100]);
  expect(sharedBytesOf('self') - before).toBeGreaterThan(256 * MiB);

  await client.close();
  expect(span.length).toBe(0);
  await server.close();
  expect(sharedBytesOf('self') - before).toBeLessThan(MiB);
  expect([span.length, kept?.view.length]).toEqual([0, 0]);
  expect(() => kept?.request.span).toThrow(SpanReleasedError);
  expect(() => reply.span).toThrow(SpanReleasedError);
  reply.release();
  kept?.request.release();
});

test('spans of a client that left, orderly or not, can be read no more', async () => {
  const address = `shm:${makeDirectory()}/s`;
  const server = createShmServer(address);
  onTestFinished(() => server.close());
  const held: IpcRequest[] = [];
  const views: Uint8Array[] = [];
  server.requests$.subscribe((request) => {
    held.push(request);
    views.push(request.span);
  });
  await server.listen();
  const client = createShmClient(address);
  await client.connect();
  void client.request(new Uint8Array(10)).catch(() => undefined);
  const victim = start('client.mjs', { address, task: 'flood', depth: 3 });
  await victim.next();
  await eventually(() => views.length, 4);
  expect(views.map((view) => view.length).toSorted((a, b) => a - b)).toEqual([10, 64, 64, 64]);
  const aborted = Promise.all(
    held.map(({ signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))),
  );
  await victim.kill();
  await client.close();
  await aborted;
  expect(views.map((view) => view.length)).toEqual([0, 0, 0, 0]);
  for (const request of held) {
    expect(() => request.span).toThrow(SpanReleasedError);
    expect(request.respond(new Uint8Array(1))).toBe(false);
    request.release();
  }
  expect(server.stats.droppedAnswers).toBe(4);
});

/** A view into the ring of a client, and what ends that connection. */
async function heldSpan(): Promise<{ span: Uint8Array<ArrayBuffer>; end: () => Promise<void> }> {
  const address = `shm:${makeDirectory()}/s`;
  const server = createShmServer(address);
  onTestFinished(() => server.close());
  server.respond((_clientId, request) => request);
  await server.listen();
  const client = createShmClient(address);
  onTestFinished(() => client.close());
  await client.connect();
  const { span } = await client.exchange(new Uint8Array(1000).fill(7));
  const end = async (): Promise<void> => {
    await client.close();
    await server.close();
  };
  return { span, end };
}

test('a span is not transferred by structuredClone, nor to a port or a worker: that throws, or copies, and it stays as it was', async () => {
  const { span, end } = await heldSpan();
  const { port1 } = new MessageChannel();
  const worker = new Worker('', { eval: true });
  onTestFinished(async () => {
    port1.close();
    await worker.terminate();
  });
  const { buffer } = span;
  for (const transfer of [
    () => structuredClone(span, { transfer: [buffer] }),
    () => port1.postMessage(span, [buffer]),
    () => worker.postMessage(span, [buffer]),
  ]) {
    // Node 20 ignores the wish, later ones do not.
    try {
      transfer();
    } catch (error) {
      expect(error).toMatchObject({ name: 'DataCloneError' });
    }
    expect(span).toEqual(new Uint8Array(1000).fill(7));
  }
  await end();
  expect(span.length).toBe(0);
});

type Transferable = ArrayBuffer & { transfer?: () => ArrayBuffer };

// Node 22 and newer.
test.skipIf(!('transfer' in ArrayBuffer.prototype))(
  'memory that arrayBuffer.transfer() has moved can be read after close(), and shows nothing any more',
  async () => {
    const { span, end } = await heldSpan();
    const offset = span.byteOffset;
    const moved = (span.buffer as Transferable).transfer?.();
    const view = new Uint8Array(moved ?? new ArrayBuffer(0));
    // The span was read where it lies now, and is there no more.
    expect([span.length, view[offset]]).toEqual([0, 7]);
    await end();
    // All of it, or this process ends here.
    expect(view.length).toBeGreaterThan(2 * MiB);
    expect(view.every((byte) => byte === 0)).toBe(true);
  },
);
