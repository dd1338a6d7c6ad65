import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Assembler } from '../src/assembler.ts';
import { DataLane, type LaneEntry } from '../src/data-lane.ts';
import { decodeExtension, encodeExtension } from '../src/extension.ts';
import { FLAG_EXTENSION, FLAG_MORE, KIND_REQUEST } from '../src/frame.ts';
import { ReassemblyBudget } from '../src/reassembly-budget.ts';
import { pattern, sameBytes } from '../src/testing/payloads.ts';
import { ScriptedChannel, ScriptedFrame, type SentFrame } from './support/scripted-channel.ts';

class Entry implements LaneEntry {
  readonly kind = KIND_REQUEST;
  readonly id: number;
  readonly payload: Uint8Array;
  readonly extension: Uint8Array | undefined;
  begun = 0;
  timesSent = 0;
  dead = false;

  constructor(id: number, size: number, extended = false) {
    this.id = id;
    this.payload = pattern(size, id);
    this.extension = extended
      ? encodeExtension({ deadlineMs: id, metadata: new Map([['k', 'v'.repeat(size % 300)]]) })
      : undefined;
  }

  begin(): boolean {
    this.begun++;
    return !this.dead;
  }

  sent(): void {
    this.timesSent++;
  }
}

/** What a peer makes of the frames: messages by id, in order. */
function received(
  frames: readonly SentFrame[],
): Array<{ id: number; payload: Uint8Array; deadlineMs: number | undefined }> {
  const messages: Array<{ id: number; payload: Uint8Array; deadlineMs: number | undefined }> = [];
  const assembler = new Assembler(
    {
      maxMessageBytes: 1 << 30,
      accept: () => true,
      onWaiting: () => undefined,
      onReady: (assembly) => {
        const { id, payload, extension } = assembly.take();
        messages.push({ id, payload, deadlineMs: extension?.deadlineMs });
      },
      onDiscarded: () => undefined,
    },
    new ReassemblyBudget(1 << 30),
  );
  for (const { kind, id, flags, payload } of frames) {
    if (assembler.active || (flags & FLAG_MORE) !== 0) assembler.add(new ScriptedFrame(kind, id, payload, flags));
    else if ((flags & FLAG_EXTENSION) === 0) messages.push({ id, payload, deadlineMs: undefined });
    else {
      const { byteLength, deadlineMs } = decodeExtension(payload);
      messages.push({ id, payload: payload.subarray(byteLength), deadlineMs });
    }
  }
  expect(assembler.active).toBe(false);
  return messages;
}

test('whatever waits is sent whole, once, in order, as room comes and goes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ size: fc.nat(12_000), extended: fc.boolean(), roomBefore: fc.nat(3) }), { maxLength: 30 }),
      (messages) => {
        const channel = new ScriptedChannel({ capacityBytes: 8184 });
        channel.room = 0;
        const lane = new DataLane(channel);
        channel.onRoom = () => lane.flush();
        const entries = messages.map(({ size, extended, roomBefore }, i) => {
          channel.makeRoom(channel.room + roomBefore);
          const entry = new Entry(i + 1, size, extended);
          lane.push(entry);
          return entry;
        });
        while (!lane.idle) channel.makeRoom(1);
        expect(lane.queuedBytes).toBe(0);
        const came = received(channel.sent);
        expect(came.map(({ id }) => id)).toEqual(entries.map(({ id }) => id));
        for (const [i, { payload, deadlineMs }] of came.entries()) {
          const entry = entries[i]!;
          expect(sameBytes(payload, entry.payload)).toBe(true);
          expect(deadlineMs).toBe(entry.extension === undefined ? undefined : entry.id);
          expect(entry.timesSent).toBe(1);
        }
        // A quarter of the capacity, so that four of them, and answers in between, find room.
        for (const { payload } of channel.sent) expect(payload.byteLength).toBeLessThanOrEqual(2048 + 2048);
        for (const { payload, flags } of channel.sent) {
          if ((flags & FLAG_EXTENSION) === 0) expect(payload.byteLength).toBeLessThanOrEqual(lane.pieceBytes);
        }
      },
    ),
  );
});

test('trySend sends at once, or not at all', () => {
  const channel = new ScriptedChannel({ capacityBytes: 8184 });
  const lane = new DataLane(channel);
  expect(lane.trySend(KIND_REQUEST, 1, pattern(lane.pieceBytes))).toBe(true);
  expect(lane.trySend(KIND_REQUEST, 1, pattern(lane.pieceBytes + 1))).toBe(false);
  channel.room = 0;
  expect(lane.trySend(KIND_REQUEST, 1, pattern(1))).toBe(false);
  expect(lane.idle).toBe(true);
  lane.push(new Entry(2, 10));
  channel.room = 5;
  // Somebody waits.
  expect(lane.trySend(KIND_REQUEST, 3, pattern(1))).toBe(false);
  expect(channel.sent.length).toBe(1);
});

test('an entry that died while it waited is passed over', () => {
  const channel = new ScriptedChannel();
  channel.room = 0;
  const lane = new DataLane(channel);
  channel.onRoom = () => lane.flush();
  const entries = [new Entry(1, 10), new Entry(2, 10), new Entry(3, 10)];
  for (const entry of entries) lane.push(entry);
  entries[1]!.dead = true;
  expect(lane.queuedBytes).toBe(30);
  channel.makeRoom();
  expect(channel.sent.map(({ id }) => id)).toEqual([1, 3]);
  expect(lane.queuedBytes).toBe(0);
});

test('remove takes out what is not begun, abandon stops what is half sent, and others go on', () => {
  const channel = new ScriptedChannel({ capacityBytes: 8184 });
  channel.room = 2;
  const lane = new DataLane(channel);
  channel.onRoom = () => lane.flush();
  const half = new Entry(1, 10_000);
  const waiting = new Entry(2, 10_000);
  const last = new Entry(3, 5);
  for (const entry of [half, waiting, last]) lane.push(entry);
  expect(lane.sending).toBe(half);
  expect(lane.isSending(half)).toBe(true);
  expect(lane.remove(half)).toBe(false);
  expect(lane.remove(waiting)).toBe(true);
  expect(lane.remove(waiting)).toBe(false);
  lane.abandon(half);
  expect(lane.queuedBytes).toBe(5);
  const terminal = new Entry(1, 3);
  lane.pushFirst(terminal);
  channel.makeRoom();
  expect(channel.sent.slice(2).map(({ id, payload }) => [id, payload.byteLength])).toEqual([
    [1, 3],
    [3, 5],
  ]);
  expect(half.timesSent).toBe(0);
  expect(lane.queuedBytes).toBe(0);
});

test('an entry whose opening found no room can still be removed', () => {
  const channel = new ScriptedChannel({ capacityBytes: 8184 });
  channel.room = 0;
  const lane = new DataLane(channel);
  channel.onRoom = () => lane.flush();
  const large = new Entry(1, 10_000);
  lane.push(large);
  lane.push(new Entry(2, 5));
  expect(lane.isSending(large)).toBe(false);
  expect(lane.remove(large)).toBe(true);
  channel.makeRoom();
  expect(channel.sent.map(({ id }) => id)).toEqual([2]);
});

test('of a channel that is gone, all that was not begun is given back in order', () => {
  const channel = new ScriptedChannel({ capacityBytes: 8184 });
  channel.room = 1;
  const lane = new DataLane(channel);
  const entries = [new Entry(1, 10_000), new Entry(2, 5), new Entry(3, 10_000)];
  for (const entry of entries) lane.push(entry);
  expect(lane.sending).toBe(entries[0]);
  expect(lane.takeUnsent()).toEqual([entries[1], entries[2]]);
  expect(lane.idle).toBe(true);
  const untouched = new DataLane(new ScriptedChannel({ capacityBytes: 8184 }));
  channel.room = 0;
  const other = new DataLane(channel);
  for (const entry of entries) other.push(entry);
  expect(other.takeUnsent()).toEqual(entries);
  expect(untouched.takeUnsent()).toEqual([]);
});

test('an entry that is pushed from inside `sent` goes out in the same flush', () => {
  const channel = new ScriptedChannel();
  const lane = new DataLane(channel);
  const second = new Entry(2, 5);
  const first = new (class extends Entry {
    override sent(): void {
      super.sent();
      lane.push(second);
    }
  })(1, 5);
  lane.push(first);
  expect(channel.sent.map(({ id }) => id)).toEqual([1, 2]);
  expect(second.timesSent).toBe(1);
});
