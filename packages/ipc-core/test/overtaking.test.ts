import { NEVER } from 'rxjs';
import { expect, test } from 'vitest';
import type { IpcRequest } from '../src/contract.ts';
import {
  FLAG_IN_PLACE,
  FLAG_MORE,
  FLAG_OVERTAKING,
  KIND_CANCEL,
  KIND_ERROR,
  KIND_GOAWAY,
  KIND_ITEM,
  KIND_REQUEST,
  KIND_RESPONSE,
  KIND_STREAM_REQUEST,
} from '../src/frame.ts';
import { pattern, readU32, textOf, u32 } from '../src/testing/payloads.ts';
import { ScriptedFrame, type ScriptedChannel } from './support/scripted-channel.ts';
import { scriptedServer } from './support/scripted-server.ts';

const frame = (kind: number, id: number, payload?: Uint8Array, flags?: number): ScriptedFrame =>
  new ScriptedFrame(kind, id, payload, flags);
const early = (id: number): ScriptedFrame => frame(KIND_CANCEL, id, undefined, FLAG_OVERTAKING);
const inPlace = (id: number): ScriptedFrame => frame(KIND_CANCEL, id, undefined, FLAG_IN_PLACE);

function codeOf(channel: ScriptedChannel, id: number): unknown {
  const error = channel.ofKind(KIND_ERROR, id)[0];
  return error === undefined ? undefined : (JSON.parse(textOf(error.payload)) as { code: unknown }).code;
}

test('a cancel that overtook its request is kept until the request comes', () => {
  const { server, client } = scriptedServer();
  const seen: number[] = [];
  server.requests$.subscribe((request) => seen.push(readU32(request.span)));
  const channel = client();
  channel.deliver(early(5));
  expect(channel.sent).toEqual([]);
  const cancelled = frame(KIND_REQUEST, 5, u32(5));
  channel.deliver(cancelled, frame(KIND_REQUEST, 6, u32(6)), inPlace(5));
  expect(seen).toEqual([6]);
  expect(cancelled.releases).toBe(1);
  expect(codeOf(channel, 5)).toBe('ERR_IPC_CANCELLED');
  // The id is free again.
  channel.deliver(frame(KIND_REQUEST, 5, u32(55)));
  expect(seen).toEqual([6, 55]);
  expect(channel.ofKind(KIND_ERROR, 5).length).toBe(1);
});

test('a cancel whose request never comes is forgotten where it stood', () => {
  const { server, client } = scriptedServer();
  const seen: number[] = [];
  server.requests$.subscribe((request) => seen.push(readU32(request.span)));
  const channel = client();
  channel.deliver(early(5));
  channel.deliver(inPlace(5));
  channel.deliver(frame(KIND_REQUEST, 5, u32(5)));
  expect(seen).toEqual([5]);
  expect(channel.sent).toEqual([]);
});

test('each cancel is for a call of its own, also when several of one id are ahead of their places', () => {
  const { server, client } = scriptedServer();
  const seen: number[] = [];
  const signals: AbortSignal[] = [];
  server.requests$.subscribe((request) => {
    seen.push(readU32(request.span));
    signals.push(request.signal);
  });
  const channel = client();
  // One for a call that had ended when it was sent, one for the next call of that id.
  channel.deliver(early(5), early(5));
  channel.deliver(inPlace(5), frame(KIND_REQUEST, 5, u32(1)), inPlace(5));
  expect(seen).toEqual([]);
  expect(codeOf(channel, 5)).toBe('ERR_IPC_CANCELLED');
  // One for a call that runs, one for the next call of that id.
  channel.deliver(frame(KIND_REQUEST, 6, u32(2)));
  channel.deliver(early(6));
  expect(signals[0]!.aborted).toBe(true);
  channel.deliver(early(6));
  channel.deliver(inPlace(6), frame(KIND_REQUEST, 6, u32(3)), inPlace(6));
  expect(seen).toEqual([2]);
  expect(channel.ofKind(KIND_ERROR, 6).length).toBe(2);
  // And nothing of all that is left for a third.
  channel.deliver(frame(KIND_REQUEST, 5, u32(4)), frame(KIND_REQUEST, 6, u32(5)));
  expect(seen).toEqual([2, 4, 5]);
  expect(signals.slice(1).every(({ aborted }) => !aborted)).toBe(true);
  expect(channel.closedWith).toBeUndefined();
});

test('a cancel that overtook the rest of its request answers at once, and swallows the rest', () => {
  const { server, client } = scriptedServer();
  const seen: IpcRequest[] = [];
  server.requests$.subscribe((request) => seen.push(request));
  const channel = client();
  const total = new Uint8Array(8);
  total.set(u32(100));
  const parts = [frame(KIND_REQUEST, 5, total, FLAG_MORE), frame(KIND_REQUEST, 5, pattern(40), FLAG_MORE)];
  channel.deliver(...parts);
  channel.deliver(early(5));
  expect(codeOf(channel, 5)).toBe('ERR_IPC_CANCELLED');
  const rest = frame(KIND_REQUEST, 5, pattern(20), FLAG_MORE);
  channel.deliver(rest, inPlace(5), frame(KIND_REQUEST, 7, u32(7)));
  expect([...parts, rest].map(({ releases }) => releases)).toEqual([1, 1, 1]);
  expect(seen.map(({ span }) => readU32(span))).toEqual([7]);
  expect(channel.ofKind(KIND_ERROR, 5).length).toBe(1);
  expect(channel.closedWith).toBeUndefined();
});

test('a cancel that overtook data ends a running request once', () => {
  const { server, client } = scriptedServer();
  const seen: IpcRequest[] = [];
  server.requests$.subscribe((request) => seen.push(request));
  const channel = client();
  channel.deliver(frame(KIND_REQUEST, 5, u32(5)));
  channel.deliver(early(5));
  expect(seen[0]!.signal.aborted).toBe(true);
  channel.deliver(frame(KIND_ITEM, 9, u32(1)), inPlace(5));
  expect(channel.ofKind(KIND_ERROR, 5).length).toBe(1);
  expect(seen[0]!.respond(u32(1))).toBe(false);
  expect(channel.ofKind(KIND_RESPONSE).length).toBe(0);
});

test('a goaway counts in its place, not where it overtook', async () => {
  const { server, client } = scriptedServer();
  const channel = client();
  server.respond((_id, request) => request);
  server.requestShutdown();
  channel.deliver(frame(KIND_GOAWAY, 0, undefined, FLAG_OVERTAKING));
  expect(channel.closedWith).toBeUndefined();
  channel.deliver(frame(KIND_REQUEST, 1, u32(1)), frame(KIND_GOAWAY, 0, undefined, FLAG_IN_PLACE));
  expect(codeOf(channel, 1)).toBe('ERR_IPC_REFUSED');
  await server.closed;
  expect(channel.closedWith).toBe('shutdown');
});

test('a hostile crowd of cancels ahead of nothing is bounded', () => {
  const { server, client, events } = scriptedServer();
  server.respond(() => NEVER);
  const channel = client();
  for (let id = 1; id <= 65_536; id++) channel.deliver(early(id));
  expect(channel.closedWith).toBeUndefined();
  channel.deliver(early(65_537));
  expect(channel.closedWith).toBe('protocol');
  expect(events.at(-1)).toMatchObject({
    type: 'disconnected',
    reason: 'protocol',
    error: { code: 'ERR_IPC_PROTOCOL' },
  });
});

test('while cancels are kept, streams are opened as well', () => {
  const { server, client } = scriptedServer();
  const seen: number[] = [];
  server.requests$.subscribe((request) => seen.push(readU32(request.span)));
  const channel = client();
  channel.deliver(early(3));
  channel.deliver(frame(KIND_STREAM_REQUEST, 2, u32(2)), frame(KIND_STREAM_REQUEST, 3, u32(3)), inPlace(3));
  expect(seen).toEqual([2]);
  expect(codeOf(channel, 3)).toBe('ERR_IPC_CANCELLED');
});
