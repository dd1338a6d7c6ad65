import { expect, test } from 'vitest';
import type { IpcClient, IpcReply } from '../src/contract.ts';
import { encodeOwnError } from '../src/error-frame.ts';
import { IpcError } from '../src/errors.ts';
import {
  FLAG_MORE,
  KIND_CANCEL,
  KIND_DUPLEX_REQUEST,
  KIND_END,
  KIND_ERROR,
  KIND_ITEM,
  KIND_RESPONSE,
} from '../src/frame.ts';
import { failureOf } from '../src/testing/eventually.ts';
import { bytesOf, pattern, sameBytes, u32 } from '../src/testing/payloads.ts';
import { ScriptedFrame, type ScriptedChannel } from './support/scripted-channel.ts';
import { connectedClient } from './support/scripted-client.ts';

const SIZE = 1000;

/** The fragments of a message of {@link SIZE} bytes. */
function fragments(kind: number, id: number, seed = 0): ScriptedFrame[] {
  const total = new Uint8Array(8);
  total.set(u32(SIZE));
  const payload = pattern(SIZE, seed);
  return [
    new ScriptedFrame(kind, id, total, FLAG_MORE),
    new ScriptedFrame(kind, id, payload.subarray(0, 600), FLAG_MORE),
    new ScriptedFrame(kind, id, payload.subarray(600)),
  ];
}

function lastId(channel: ScriptedChannel): number {
  return channel.sent.findLast(({ kind }) => kind <= KIND_DUPLEX_REQUEST)!.id;
}

/** A client whose memory for fragments is all taken, by a reply that is borrowed. */
async function exhausted(): Promise<{ client: IpcClient; channel: ScriptedChannel; reply: IpcReply }> {
  const { client, channel } = await connectedClient({ maxMessageBytes: SIZE, maxReassemblyBytes: SIZE });
  const exchange = client.exchange(bytesOf('x'));
  channel.deliver(...fragments(KIND_RESPONSE, lastId(channel)));
  return { client, channel, reply: await exchange };
}

test('an answer waits for memory, unreleased, and comes when there is some', async () => {
  const { client, channel, reply } = await exhausted();
  const answer = client.request(bytesOf('y'));
  const frames = fragments(KIND_RESPONSE, lastId(channel), 1);
  channel.deliver(...frames);
  // The total alone is no memory.
  expect(frames.map(({ releases }) => releases)).toEqual([1, 0, 0]);
  const other = client.request(bytesOf('z'));
  channel.deliver(new ScriptedFrame(KIND_RESPONSE, lastId(channel), u32(1)));
  await other;
  reply.release();
  expect(frames.map(({ releases }) => releases)).toEqual([1, 1, 1]);
  expect(sameBytes(await answer, pattern(SIZE, 1))).toBe(true);
});

test('a call that is given up while its whole answer waits has ended: nobody is told, and its id is free', async () => {
  const { client, channel, reply } = await exhausted();
  const controller = new AbortController();
  const failure = failureOf(client.request(bytesOf('y'), { signal: controller.signal }));
  const id = lastId(channel);
  const frames = fragments(KIND_RESPONSE, id, 1);
  channel.deliver(...frames);
  controller.abort();
  await failure;
  expect(frames.every(({ releases }) => releases === 1)).toBe(true);
  expect(channel.ofKind(KIND_CANCEL)).toEqual([]);
  expect(client.stats.pending).toBe(0);
  const next = client.request(bytesOf('z'));
  expect(lastId(channel)).toBe(id);
  channel.deliver(new ScriptedFrame(KIND_RESPONSE, id, u32(7)));
  expect((await next).byteLength).toBe(4);
  reply.release();
});

test('a call that is given up while a part of its answer waits is cancelled, and the rest swallowed', async () => {
  const { client, channel, reply } = await exhausted();
  const controller = new AbortController();
  const failure = failureOf(client.request(bytesOf('y'), { signal: controller.signal }));
  const id = lastId(channel);
  const frames = fragments(KIND_RESPONSE, id, 1);
  channel.deliver(...frames.slice(0, 2));
  controller.abort();
  await failure;
  expect(channel.ofKind(KIND_CANCEL, id).length).toBe(1);
  expect(client.stats.pending).toBe(1);
  channel.deliver(frames[2]!);
  expect(frames.every(({ releases }) => releases === 1)).toBe(true);
  expect(client.stats.pending).toBe(0);
  reply.release();
  expect(channel.closedWith).toBeUndefined();
});

test('an error after a part of an item that waits discards the part, and comes itself', async () => {
  const { client, channel, reply } = await exhausted();
  const sizes: number[] = [];
  const failure = failureOf(client.request$(bytesOf('y')).forEach((item) => sizes.push(item.byteLength)));
  const id = lastId(channel);
  const frames = fragments(KIND_ITEM, id);
  const error = encodeOwnError(new IpcError('ERR_IPC_CLOSED', 'ended'));
  channel.deliver(
    new ScriptedFrame(KIND_ITEM, id, u32(1)),
    ...frames.slice(0, 2),
    new ScriptedFrame(KIND_ERROR, id, error),
  );
  expect(await failure).toMatchObject({ code: 'ERR_IPC_CLOSED' });
  expect(sizes).toEqual([4]);
  expect(frames.slice(0, 2).map(({ releases }) => releases)).toEqual([1, 1]);
  reply.release();
});

test('items, and the end, stay behind an item that waits', async () => {
  const { client, channel, reply } = await exhausted();
  const sizes: number[] = [];
  let ended = false;
  const done = client.request$(bytesOf('y')).forEach((item) => sizes.push(item.byteLength));
  void done.then(() => (ended = true));
  const id = lastId(channel);
  channel.deliver(
    ...fragments(KIND_ITEM, id, 1),
    new ScriptedFrame(KIND_ITEM, id, u32(1)),
    ...fragments(KIND_ITEM, id, 2),
    new ScriptedFrame(KIND_ITEM, id, pattern(5)),
    new ScriptedFrame(KIND_END, id),
  );
  await Promise.resolve();
  expect(sizes).toEqual([]);
  expect(ended).toBe(false);
  reply.release();
  await done;
  expect(sizes).toEqual([SIZE, 4, SIZE, 5]);
  expect(client.stats.pending).toBe(0);
});

test('a stream that is left while its items wait releases all of them', async () => {
  const { client, channel, reply } = await exhausted();
  const subscription = client.request$(bytesOf('y')).subscribe();
  const id = lastId(channel);
  const frames = [...fragments(KIND_ITEM, id, 1), new ScriptedFrame(KIND_ITEM, id, u32(1))];
  channel.deliver(...frames);
  subscription.unsubscribe();
  expect(frames.map(({ releases }) => releases)).toEqual([1, 1, 1, 1]);
  expect(channel.ofKind(KIND_CANCEL, id).length).toBe(1);
  channel.deliver(new ScriptedFrame(KIND_END, id));
  expect(client.stats.pending).toBe(0);
  reply.release();
});

test('when the connection breaks, what waits is released, and its calls fail', async () => {
  const { client, channel } = await exhausted();
  const failure = failureOf(client.request(bytesOf('y')));
  const frames = fragments(KIND_RESPONSE, lastId(channel), 1);
  channel.deliver(...frames);
  channel.breakOff('gone', new IpcError('ERR_IPC_PEER_GONE', 'broken'));
  expect(await failure).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(frames.every(({ releases }) => releases === 1)).toBe(true);
});
