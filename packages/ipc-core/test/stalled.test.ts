import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { IpcRequest } from '../src/contract.ts';
import { FLAG_MORE, KIND_REQUEST, KIND_RESPONSE } from '../src/frame.ts';
import { bytesOf, pattern, u32 } from '../src/testing/payloads.ts';
import { ScriptedFrame } from './support/scripted-channel.ts';
import { scriptedServer } from './support/scripted-server.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const frame = (kind: number, id: number, payload?: Uint8Array, flags?: number): ScriptedFrame =>
  new ScriptedFrame(kind, id, payload, flags);

/** The first part of a message of `bytes`. */
function part(id: number, bytes: number): ScriptedFrame[] {
  const total = new Uint8Array(8);
  total.set(u32(bytes));
  return [frame(KIND_REQUEST, id, total, FLAG_MORE), frame(KIND_REQUEST, id, pattern(10), FLAG_MORE)];
}

test('a client that takes no answer is dropped once it took none for as long as the option says', async () => {
  const { server, client, events } = scriptedServer();
  server.respond((_id, request) => request);
  const channel = client();
  channel.room = 0;
  channel.deliver(frame(KIND_REQUEST, 1, bytesOf('x')));
  await vi.advanceTimersByTimeAsync(29_999);
  expect(channel.closedWith).toBeUndefined();
  await vi.advanceTimersByTimeAsync(7501);
  expect(channel.closedWith).toBe('stalled');
  expect(events.at(-1)).toMatchObject({ reason: 'stalled', error: { code: 'ERR_IPC_TIMEOUT' } });
  expect(server.stats).toMatchObject({ clients: 0, openRequests: 0 });
});

test('a client that takes an answer now and then is slow, not stalled', async () => {
  const { server, client } = scriptedServer({ stalledClient: { afterMs: 1000 } });
  server.respond((_id, request) => request);
  const channel = client();
  channel.room = 0;
  for (let id = 1; id <= 10; id++) channel.deliver(frame(KIND_REQUEST, id, pattern(10)));
  for (let i = 0; i < 9; i++) {
    await vi.advanceTimersByTimeAsync(900);
    channel.makeRoom(1);
  }
  expect(channel.closedWith).toBeUndefined();
  expect(channel.ofKind(KIND_RESPONSE).length).toBe(9);
  await vi.advanceTimersByTimeAsync(2000);
  expect(channel.closedWith).toBe('stalled');
});

test('a client that sent half a message and no more is dropped', async () => {
  const { server, client } = scriptedServer({ stalledClient: { afterMs: 1000 } });
  server.respond((_id, request) => request);
  const channel = client();
  channel.deliver(...part(1, 100));
  for (let i = 0; i < 5; i++) {
    await vi.advanceTimersByTimeAsync(900);
    channel.deliver(frame(KIND_REQUEST, 1, pattern(10), FLAG_MORE));
  }
  expect(channel.closedWith).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1500);
  expect(channel.closedWith).toBe('stalled');
});

test('a client in the middle of a frame is dropped, too', async () => {
  const { client } = scriptedServer({ stalledClient: { afterMs: 1000 } });
  const channel = client();
  channel.midFrame = true;
  await vi.advanceTimersByTimeAsync(1500);
  expect(channel.closedWith).toBe('stalled');
});

test('a client in the middle of a frame whose bytes keep coming is slow, not stalled', async () => {
  const { server, client } = scriptedServer({ stalledClient: { afterMs: 1000 } });
  server.respond((_id, request) => request);
  const channel = client();
  channel.midFrame = true;
  for (let i = 1; i < 10; i++) {
    channel.receivedBytes = i;
    await vi.advanceTimersByTimeAsync(900);
  }
  expect(channel.closedWith).toBeUndefined();
  await vi.advanceTimersByTimeAsync(2000);
  expect(channel.closedWith).toBe('stalled');
});

test('a client that cannot send because its requests are held here is not at fault', async () => {
  const { server, client } = scriptedServer({ stalledClient: { afterMs: 1000 } });
  const requests: IpcRequest[] = [];
  server.requests$.subscribe((request) => requests.push(request));
  const channel = client();
  channel.deliver(frame(KIND_REQUEST, 1, pattern(1000)), ...part(2, 100));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(channel.closedWith).toBeUndefined();
  requests[0]!.respond(u32(1));
  await vi.advanceTimersByTimeAsync(1500);
  expect(channel.closedWith).toBe('stalled');
});

test('a client whose requests nobody reads is not at fault', async () => {
  const { client } = scriptedServer({ stalledClient: { afterMs: 1000 } });
  const channel = client();
  channel.deliver(frame(KIND_REQUEST, 1, pattern(1000)));
  channel.deliver(...part(2, 100));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(channel.closedWith).toBeUndefined();
});

test('an idle client is not stalled, however long', async () => {
  const { server, client } = scriptedServer({ stalledClient: { afterMs: 1 } });
  server.respond((_id, request) => request);
  const channel = client();
  channel.deliver(frame(KIND_REQUEST, 1, pattern(10)));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(channel.closedWith).toBeUndefined();
});

test('with action "keep" nobody is dropped', async () => {
  const { server, client } = scriptedServer({ stalledClient: { afterMs: 10, action: 'keep' } });
  server.respond((_id, request) => request);
  const channel = client();
  channel.room = 0;
  channel.deliver(frame(KIND_REQUEST, 1, bytesOf('x')), ...part(2, 100));
  await vi.advanceTimersByTimeAsync(100_000);
  expect(channel.closedWith).toBeUndefined();
});

test('a client that does not take its answers holds a close() no longer than graceMs', async () => {
  const { server, client } = scriptedServer({ graceMs: 500 });
  server.respond((_id, request) => request);
  const channel = client();
  channel.room = 0;
  channel.deliver(frame(KIND_REQUEST, 1, bytesOf('x')));
  let closed = false;
  void server.close().then(() => (closed = true));
  await vi.advanceTimersByTimeAsync(499);
  expect(closed).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(closed).toBe(true);
  expect(channel.closedWith).toBe('shutdown');
});
