import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Assembler, type Assembly } from '../src/assembler.ts';
import { encodeExtension } from '../src/extension.ts';
import { FLAG_EXTENSION, FLAG_MORE, KIND_ITEM, KIND_ONE_WAY, KIND_REQUEST, TOTAL_BYTES } from '../src/frame.ts';
import { ReassemblyBudget } from '../src/reassembly-budget.ts';
import { pattern, sameBytes, u32 } from '../src/testing/payloads.ts';
import { countCopies } from './support/copies.ts';
import { ScriptedFrame } from './support/scripted-channel.ts';

/** An assembler and what it tells. */
function assembling(capacityBytes = 1 << 20, accept: (id: number) => boolean = () => true) {
  const budget = new ReassemblyBudget(capacityBytes);
  const ready: Assembly[] = [];
  const waiting: Assembly[] = [];
  const discarded: number[] = [];
  const assembler = new Assembler(
    {
      maxMessageBytes: capacityBytes,
      accept: (_kind, id) => accept(id),
      onWaiting: (assembly) => waiting.push(assembly),
      onReady: (assembly) => ready.push(assembly),
      onDiscarded: (_kind, id) => discarded.push(id),
    },
    budget,
  );
  return { assembler, budget, ready, waiting, discarded };
}

/** The fragments of a message, cut at `cuts`; `head`: how much payload the first one has. */
function fragmentsOf(payload: Uint8Array, cuts: readonly number[], id = 1, extension?: Uint8Array): ScriptedFrame[] {
  const [head = 0, ...rest] = cuts.toSorted((a, b) => a - b);
  const opening = new Uint8Array(TOTAL_BYTES + (extension?.byteLength ?? 0) + head);
  opening.set(u32(payload.byteLength));
  if (extension !== undefined) opening.set(extension, TOTAL_BYTES);
  opening.set(payload.subarray(0, head), opening.byteLength - head);
  const flags = FLAG_MORE | (extension === undefined ? 0 : FLAG_EXTENSION);
  const frames = [new ScriptedFrame(KIND_REQUEST, id, opening, flags)];
  let at = head;
  for (const end of [...rest, payload.byteLength]) {
    frames.push(new ScriptedFrame(KIND_REQUEST, id, payload.subarray(at, end), FLAG_MORE));
    at = end;
  }
  const last = frames.pop()!;
  frames.push(new ScriptedFrame(last.kind, last.id, last.payload, 0));
  return frames;
}

test('however a message is cut, it is whole again, and each fragment is released once', () => {
  fc.assert(
    fc.property(
      fc.nat(2000),
      fc.array(fc.nat(2000), { maxLength: 12 }),
      fc.boolean(),
      fc.boolean(),
      (size, cuts, extended, delayed) => {
        const payload = pattern(size, size);
        const { assembler, budget, ready, waiting } = assembling(2000);
        const blocker = delayed ? budget.reserve(2000, () => undefined) : undefined;
        const extension = extended ? encodeExtension({ deadlineMs: 7, metadata: new Map([['k', 'v']]) }) : undefined;
        const frames = fragmentsOf(
          payload,
          cuts.map((cut) => Math.min(cut, size)),
          1,
          extension,
        );
        for (const frame of frames) assembler.add(frame);
        expect(assembler.active).toBe(false);
        if (blocker !== undefined && size > 0) {
          expect(waiting.length).toBe(1);
          expect(ready.length).toBe(0);
          // The sender's window stays shut for what is not placed.
          expect(frames.some(({ releases }) => releases === 0)).toBe(true);
        }
        blocker?.giveBack();
        expect(ready.length).toBe(1);
        expect(frames.map(({ releases }) => releases)).toEqual(frames.map(() => 1));
        const message = ready[0]!.take();
        expect(sameBytes(message.payload, payload)).toBe(true);
        expect(message.owned).toBe(true);
        expect(message.extension?.deadlineMs).toBe(extended ? 7 : undefined);
        expect(budget.usedBytes).toBe(size);
        message.release();
        expect(budget.usedBytes).toBe(0);
      },
    ),
  );
});

test.for([false, true])(
  'a message of 16 MiB in fragments of 1 KiB is copied once, into memory of its size (it has to wait for that: %s)',
  (waits) => {
    const size = 1 << 24;
    const payload = pattern(size);
    const { assembler, budget, ready } = assembling(size);
    const blocker = waits ? budget.reserve(size, () => undefined) : undefined;
    const cuts = Array.from({ length: size / 1024 }, (_, i) => i * 1024);
    const frames = fragmentsOf(payload, cuts);
    const counts = countCopies(() => {
      for (const frame of frames) assembler.add(frame);
      blocker?.giveBack();
    });
    expect(counts).toEqual({ copiedBytes: size, allocatedBytes: size });
    expect(sameBytes(ready[0]!.take().payload, payload)).toBe(true);
  },
);

test('an interrupted message gives its memory back, and the next one may begin', () => {
  const { assembler, budget, ready } = assembling();
  const [first, second] = fragmentsOf(pattern(100), [0, 50]);
  assembler.add(first!);
  assembler.add(second!);
  expect(budget.usedBytes).toBe(100);
  expect(assembler.collecting).toBe(true);
  assembler.interrupt(2);
  expect(assembler.active).toBe(true);
  assembler.interrupt(1);
  expect(assembler.active).toBe(false);
  expect(budget.usedBytes).toBe(0);
  for (const frame of fragmentsOf(pattern(30), [0], 3)) assembler.add(frame);
  expect(ready.length).toBe(1);
});

test('a message that is not wanted any more is swallowed to its end', () => {
  const { assembler, budget, ready, discarded } = assembling();
  const frames = fragmentsOf(pattern(100), [0, 30, 60]);
  assembler.add(frames[0]!);
  assembler.add(frames[1]!);
  assembler.discard(1);
  expect(budget.usedBytes).toBe(0);
  expect(assembler.active).toBe(true);
  expect(assembler.isCollectingRequest(1)).toBe(false);
  assembler.add(frames[2]!);
  assembler.add(frames[3]!);
  expect(discarded).toEqual([1]);
  expect(ready).toEqual([]);
  expect(frames.map(({ releases }) => releases)).toEqual([1, 1, 1, 1]);
});

test('a message that the host does not accept reserves nothing', () => {
  const { assembler, budget, discarded } = assembling(100, () => false);
  const frames = fragmentsOf(pattern(5000), [0, 1000, 4000]);
  for (const frame of frames) assembler.add(frame);
  expect(budget.usedBytes).toBe(0);
  expect(discarded).toEqual([1]);
  expect(frames.every(({ releases }) => releases === 1)).toBe(true);
});

test('closing frees what is half received', () => {
  const { assembler, budget } = assembling();
  const frames = fragmentsOf(pattern(100), [10, 50]);
  assembler.add(frames[0]!);
  assembler.close();
  expect(budget.usedBytes).toBe(0);
  expect(frames[0]!.releases).toBe(1);
});

test('a waiting message that is discarded releases its fragments and leaves the queue for memory', () => {
  const { assembler, budget, waiting } = assembling(100);
  const blocker = budget.reserve(100, () => undefined);
  const frames = fragmentsOf(pattern(80), [10, 50]);
  assembler.add(frames[0]!);
  assembler.add(frames[1]!);
  expect(assembler.collecting).toBe(false);
  waiting[0]!.discard();
  waiting[0]!.discard();
  expect(frames.slice(0, 2).map(({ releases }) => releases)).toEqual([1, 1]);
  blocker.giveBack();
  expect(budget.usedBytes).toBe(0);
});

test('what does not continue the message breaks the protocol, and is released', () => {
  for (const wrong of [
    new ScriptedFrame(KIND_REQUEST, 2, pattern(5), FLAG_MORE),
    new ScriptedFrame(KIND_ONE_WAY, 1, pattern(5), FLAG_MORE),
    new ScriptedFrame(KIND_REQUEST, 1, pattern(5), FLAG_MORE | FLAG_EXTENSION),
    new ScriptedFrame(KIND_REQUEST, 1, pattern(101), FLAG_MORE),
    new ScriptedFrame(KIND_REQUEST, 1, pattern(99), 0),
  ]) {
    const { assembler } = assembling();
    assembler.add(fragmentsOf(pattern(100), [0])[0]!);
    expect(() => assembler.add(wrong)).toThrow(expect.objectContaining({ code: 'ERR_IPC_PROTOCOL' }));
    expect(wrong.releases).toBe(1);
  }
  const short = new ScriptedFrame(KIND_ITEM, 1, pattern(7), FLAG_MORE);
  expect(() => assembling().assembler.add(short)).toThrow(expect.objectContaining({ code: 'ERR_IPC_PROTOCOL' }));
  expect(short.releases).toBe(1);
});
