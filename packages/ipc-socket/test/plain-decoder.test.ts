import {
  chargeOf,
  KIND_REQUEST,
  MessageTooLargeError,
  ProtocolError,
  ReassemblyBudget,
  type Frame,
} from '@spanwire/ipc-core';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PlainDecoder } from '../src/plain-decoder.ts';
import { countCopies } from './support/copies.ts';
import { concat, cut, digest, encodePlain, pattern } from './support/wire.ts';

const MAX = 100_000;
const MiB = 1024 * 1024;

interface SetUp {
  windowBytes?: number;
  release?: boolean;
  budget?: ReassemblyBudget | undefined;
}

/** A decoder behind a reader that stops when it is told to, as a socket does. */
function setUp({ windowBytes = 64 * 1024, release = true, budget }: SetUp = {}) {
  const frames: Frame[] = [];
  const messages: Uint8Array[] = [];
  const unread: Uint8Array<ArrayBuffer>[] = [];
  let paused = false;
  let pauses = 0;
  const decoder = new PlainDecoder(
    { kind: KIND_REQUEST, windowBytes, maxMessageBytes: MAX, budget },
    {
      deliver(batch) {
        for (const frame of batch) {
          frames.push(frame);
          messages.push(new Uint8Array(frame.payload));
          if (release) frame.release();
        }
        return true;
      },
      pause() {
        paused = true;
        pauses++;
      },
      resumable() {
        resumable = true;
      },
    },
  );
  let resumable = false;
  const run = (): void => {
    for (;;) {
      if (paused) {
        if (!resumable) return;
        resumable = false;
        paused = false;
        decoder.push(decoder.takeRest() ?? new Uint8Array(0));
      } else {
        const chunk = unread.shift();
        if (chunk === undefined) return;
        decoder.push(chunk);
      }
    }
  };
  return {
    decoder,
    frames,
    messages,
    run,
    read(chunks: readonly Uint8Array<ArrayBuffer>[]): void {
      unread.push(...chunks);
      run();
    },
    get paused(): boolean {
      return paused;
    },
    get pauses(): number {
      return pauses;
    },
  };
}

const sizesOfMessages = (options: { minLength?: number; maxLength: number }) =>
  fc.array(
    fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 0, max: 60 }) },
      { weight: 1, arbitrary: fc.integer({ min: 60, max: 40_000 }) },
    ),
    options,
  );
const chunkSizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 70_000 })), {
  minLength: 1,
  maxLength: 20,
});

describe('the decoder of plain messages', () => {
  test('delivers what was sent, empty messages included, however it is cut into chunks', () => {
    fc.assert(
      fc.property(sizesOfMessages({ maxLength: 40 }), chunkSizes, fc.boolean(), (lengths, sizes, budgeted) => {
        const sent = lengths.map((length, seed) => pattern(length, seed));
        const budget = budgeted ? new ReassemblyBudget(MAX) : undefined;
        const side = setUp({ budget });
        side.read(cut(concat(sent.map(encodePlain)), sizes));
        expect(side.messages.map(digest)).toEqual(sent.map(digest));
        expect(side.decoder.atBoundary).toBe(true);
        expect(side.decoder.heldBytes).toBe(0);
        expect(budget?.usedBytes ?? 0).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test('delivers one byte at a time as it does all at once', () => {
    const sent = [pattern(0), pattern(1), pattern(300), pattern(0), pattern(5)];
    const side = setUp();
    side.read(cut(concat(sent.map(encodePlain)), [1]));
    expect(side.messages).toEqual(sent);
  });

  test('stops reading while a window of messages is held, and goes on where it stopped when they are released', () => {
    fc.assert(
      fc.property(sizesOfMessages({ minLength: 1, maxLength: 200 }), chunkSizes, (lengths, sizes) => {
        const sent = lengths.map((length, seed) => pattern(length, seed));
        const windowBytes = 8 * 1024;
        const side = setUp({ windowBytes, release: false });
        side.read(cut(concat(sent.map(encodePlain)), sizes));
        let released = 0;
        while (side.frames.length > released) {
          // One message may overshoot, no more.
          const last = chargeOf(side.frames.at(-1)?.payload.byteLength ?? 0);
          expect(side.decoder.heldBytes - last).toBeLessThan(windowBytes);
          side.frames[released++]?.release();
          side.run();
        }
        expect(side.messages.map(digest)).toEqual(sent.map(digest));
        expect(side.decoder.heldBytes).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test('bounds what is held of messages without any bytes, too', () => {
    const side = setUp({ windowBytes: 8 * 1024, release: false });
    side.read([concat(Array.from({ length: 10_000 }, () => encodePlain(new Uint8Array(0))))]);
    expect(side.frames.length).toBe(128);
    expect(side.paused).toBe(true);
  });

  test('begins a large message only when its memory is granted, in order of arrival', () => {
    const budget = new ReassemblyBudget(MAX);
    const first = setUp({ budget, release: false });
    const second = setUp({ budget, release: false });
    const large = pattern(60_000);
    first.read(cut(encodePlain(large), [10_000]));
    expect(first.messages.map(digest)).toEqual([digest(large)]);
    second.read(cut(encodePlain(large), [10_000]));
    expect(second.messages).toEqual([]);
    expect(second.paused).toBe(true);
    // It is not the peer who is late.
    expect(second.decoder.midFrame).toBe(false);
    expect(second.decoder.atBoundary).toBe(false);
    first.frames[0]?.release();
    second.run();
    expect(second.messages.map(digest)).toEqual([digest(large)]);
    second.frames[0]?.release();
    expect(budget.usedBytes).toBe(0);
  });

  test('gives memory back when the connection ends before the message, and when it ends before the release', () => {
    const budget = new ReassemblyBudget(MAX);
    const half = setUp({ budget });
    half.read([encodePlain(pattern(60_000)).slice(0, 1000)]);
    expect(budget.usedBytes).toBe(60_000);
    half.decoder.abandon();
    expect(budget.usedBytes).toBe(0);
    const held = setUp({ budget, release: false });
    held.read([encodePlain(pattern(60_000))]);
    expect(budget.usedBytes).toBe(60_000);
    held.decoder.abandon();
    expect(budget.usedBytes).toBe(0);
    held.frames[0]?.release();
    expect(budget.usedBytes).toBe(0);
  });

  test.each([
    [2 ** 32 - 1, ProtocolError],
    [2 ** 30, ProtocolError],
    [2 ** 30 - 1, MessageTooLargeError],
    [MAX + 1, MessageTooLargeError],
  ])('refuses a length of %d before it spends memory on it', (length, kind) => {
    const prefix = new Uint8Array(4);
    new DataView(prefix.buffer).setUint32(0, length, true);
    for (const sizes of [[4], [1], [3, 1]]) {
      const side = setUp();
      const before = process.memoryUsage().arrayBuffers;
      expect(() => side.read(cut(concat([encodePlain(pattern(3)), prefix]), sizes))).toThrow(kind);
      expect(side.messages).toEqual([pattern(3)]);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
    }
  });

  test('takes a message of exactly maxMessageBytes', () => {
    const side = setUp();
    side.read(cut(encodePlain(pattern(MAX)), [65_536]));
    expect(side.messages.map(digest)).toEqual([digest(pattern(MAX))]);
  });

  test('copies a message of 16 MiB that comes in chunks of 1 KiB once, into memory of its size', () => {
    const payload = pattern(16 * MiB);
    const chunks = cut(encodePlain(payload), [1024]);
    const frames: Frame[] = [];
    const options = { kind: KIND_REQUEST, windowBytes: MiB, maxMessageBytes: 16 * MiB };
    const decoder = new PlainDecoder(
      { ...options, budget: new ReassemblyBudget(16 * MiB) },
      { deliver: (batch) => frames.push(...batch) > 0, pause: () => {}, resumable: () => {} },
    );
    const counts = countCopies(() => {
      for (const chunk of chunks) decoder.push(chunk);
    });
    expect(counts).toEqual({ copiedBytes: 16 * MiB, allocatedBytes: 16 * MiB });
    expect(frames.map((frame) => digest(frame.payload))).toEqual([digest(payload)]);
  });

  test('knows when the peer owes the rest of a message', () => {
    const side = setUp();
    const bytes = encodePlain(pattern(3));
    for (const [index, chunk] of cut(bytes, [1]).entries()) {
      side.read([chunk]);
      expect(side.decoder.midFrame).toBe(index < bytes.byteLength - 1);
    }
  });
});
