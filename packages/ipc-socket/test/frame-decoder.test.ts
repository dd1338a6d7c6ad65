import {
  chargeOf,
  isControl,
  KIND_CREDIT,
  KIND_GOAWAY,
  ProtocolError,
  ReceiveWindow,
  type Frame,
} from '@spanwire/ipc-core';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameDecoder, MAX_BATCH_FRAMES } from '../src/frame-decoder.ts';
import { countCopies } from './support/copies.ts';
import { concat, cut, digest, encodeFrame, pattern, type WireFrame } from './support/wire.ts';

const WINDOW = 64 * 1024;
const MiB = 1024 * 1024;

/** A decoder whose deliveries are kept. `release` decides which frames are released in the delivery. */
function setUp(options: { windowBytes?: number; release?: (index: number) => boolean; until?: number } = {}) {
  const { windowBytes = WINDOW, release = () => true, until = Infinity } = options;
  const frames: Frame[] = [];
  const seen: WireFrame[] = [];
  const batches: number[] = [];
  const credits: number[] = [];
  let goaways = 0;
  let owed = 0;
  const window = new ReceiveWindow(windowBytes, (bytes) => (owed += bytes));
  const decoder = new FrameDecoder(window, windowBytes, {
    deliver(batch) {
      batches.push(batch.length);
      for (const frame of batch) {
        seen.push({ kind: frame.kind, id: frame.id, flags: frame.flags, payload: new Uint8Array(frame.payload) });
        frames.push(frame);
        if (release(frames.length - 1)) frame.release();
      }
      return frames.length < until;
    },
    credit: (bytes) => credits.push(bytes),
    goaway: () => goaways++,
    released: () => {},
  });
  return { decoder, window, frames, seen, batches, credits, goaways: () => goaways, owed: () => owed };
}

function describeFrame({ kind, id, flags, payload }: WireFrame): string {
  return `${kind} ${id} ${flags} ${digest(payload)}`;
}

/** What a sequence of bytes means, written as plainly as possible. */
function reference(bytes: Uint8Array): { frames: WireFrame[]; credits: number[]; broken: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: WireFrame[] = [];
  const credits: number[] = [];
  let at = 0;
  while (bytes.byteLength - at >= 8) {
    const word = view.getUint32(at, true);
    const tag = view.getUint32(at + 4, true);
    const length = word & 0x3fff_ffff;
    const flags = word >>> 30;
    const kind = tag >>> 28;
    const id = tag & 0x0fff_ffff;
    if (kind > 10 || (kind >= 8 && (length > 64 || flags !== 0)) || (kind < 8 && chargeOf(length) > WINDOW)) {
      return { frames, credits, broken: true };
    }
    if (kind === 10 && id === 0 && length !== 4 && bytes.byteLength - at - 8 >= length) {
      return { frames, credits, broken: true };
    }
    if (bytes.byteLength - at - 8 < length) break;
    const payload = bytes.slice(at + 8, at + 8 + length);
    if (kind === 10 && id === 0) credits.push(new DataView(payload.buffer).getUint32(0, true));
    else frames.push({ kind, id, flags, payload });
    at += 8 + length;
  }
  return { frames, credits, broken: false };
}

const dataFrame = fc.record({
  kind: fc.integer({ min: 0, max: 7 }),
  id: fc.integer({ min: 0, max: 2 ** 28 - 1 }),
  flags: fc.integer({ min: 0, max: 3 }),
  payload: fc.oneof(
    { weight: 4, arbitrary: fc.uint8Array({ maxLength: 100 }) },
    { weight: 1, arbitrary: fc.integer({ min: 100, max: 9000 }).map((byteLength) => pattern(byteLength)) },
  ),
});
const controlFrame = fc.record({
  kind: fc.integer({ min: 8, max: 10 }),
  id: fc.integer({ min: 1, max: 2 ** 28 - 1 }),
  flags: fc.constant(0),
  payload: fc.uint8Array({ maxLength: 64 }),
});
const creditFrame = fc.record({
  kind: fc.constant(KIND_CREDIT),
  id: fc.constant(0),
  flags: fc.constant(0),
  payload: fc.uint8Array({ minLength: 4, maxLength: 4 }),
});
const anyFrame = fc.oneof(
  { weight: 6, arbitrary: dataFrame },
  { weight: 1, arbitrary: controlFrame },
  { weight: 1, arbitrary: creditFrame },
);
const chunkSizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20_000 })), {
  minLength: 1,
  maxLength: 20,
});

describe('the decoder of Spanwire frames', () => {
  test('delivers what was encoded, however it is cut into chunks', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 40 }), chunkSizes, (sent, sizes) => {
        const bytes = concat(sent.map(encodeFrame));
        const { decoder, seen, credits } = setUp();
        for (const chunk of cut(bytes, sizes)) decoder.push(chunk);
        const expected = reference(bytes);
        expect(seen.map(describeFrame)).toEqual(expected.frames.map(describeFrame));
        expect(credits).toEqual(expected.credits);
        expect(decoder.midFrame).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test('delivers one byte at a time as it does all at once', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), (sent) => {
        const bytes = concat(sent.map(encodeFrame));
        const { decoder, seen } = setUp();
        for (const chunk of cut(bytes, [1])) decoder.push(chunk);
        expect(seen).toEqual(reference(bytes).frames);
      }),
      { numRuns: 50 },
    );
  });

  test('takes garbage for what the format says, and ends with a protocol error where it says nothing', () => {
    const word = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
    const header = fc.tuple(
      word,
      fc.oneof(
        word,
        fc.integer({ min: 8, max: 15 }).map((kind) => kind * 2 ** 28),
      ),
    );
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 3000 }),
      fc.array(fc.tuple(header, fc.uint8Array({ maxLength: 200 })), { maxLength: 30 }).map((parts) =>
        concat(
          parts.map(([[first, second], rest]) => {
            const bytes = new Uint8Array(8 + rest.byteLength);
            new DataView(bytes.buffer).setUint32(0, first, true);
            new DataView(bytes.buffer).setUint32(4, second, true);
            bytes.set(rest, 8);
            return bytes;
          }),
        ),
      ),
    );
    fc.assert(
      fc.property(garbage, chunkSizes, (bytes, sizes) => {
        const { decoder, seen, window } = setUp();
        let broken = false;
        for (const chunk of cut(bytes, sizes)) {
          try {
            decoder.push(chunk);
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
            broken = true;
            break;
          }
        }
        const expected = reference(bytes);
        expect(seen).toEqual(expected.frames);
        expect(broken).toBe(expected.broken);
        expect(window.heldBytes).toBeLessThanOrEqual(WINDOW);
      }),
      { numRuns: 500 },
    );
  });

  test('keeps the bytes of frames that are held while others come and go', () => {
    fc.assert(
      fc.property(fc.array(dataFrame, { maxLength: 60 }), chunkSizes, fc.nat(), (sent, sizes, seed) => {
        const bytes = concat(sent.map(encodeFrame));
        const held = (index: number): boolean => (index * 7 + seed) % 3 === 0;
        const { decoder, frames, window } = setUp({ windowBytes: 1024 * 1024, release: (index) => !held(index) });
        for (const chunk of cut(bytes, sizes)) decoder.push(chunk);
        let charges = 0;
        for (const [index, frame] of frames.entries()) {
          expect(digest(frame.payload)).toBe(digest(sent[index]?.payload ?? new Uint8Array(0)));
          if (held(index)) charges += chargeOf(frame.payload.byteLength);
        }
        expect(window.heldBytes).toBe(charges);
        for (const frame of frames) {
          frame.release();
          frame.release();
        }
        expect(window.heldBytes).toBe(0);
        expect(decoder.pinnedBytes).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    ['a data frame of 2^30 - 1 bytes', 2 ** 30 - 1, 0],
    ['a data frame one byte over the window', WINDOW - 8 + 1, 0],
    ['a fragment over the window', (2 ** 31 + WINDOW) >>> 0, 5],
    ['a control frame of 65 bytes', 65, 8],
    ['a control frame of 2^30 - 1 bytes', 2 ** 30 - 1, 9],
    ['a fragment of a control frame', 2 ** 31 + 4, 8],
    ['a control frame with an extension', 2 ** 30 + 4, 9],
    ['reserved kind 11', 0, 11],
    ['reserved kind 15', 4, 15],
    ['credit of 3 bytes', 3, 10],
  ])('refuses %s', (_what, word, kind) => {
    const header = new Uint8Array(8 + 3);
    new DataView(header.buffer).setUint32(0, word, true);
    new DataView(header.buffer).setUint32(4, kind * 2 ** 28, true);
    for (const sizes of [[11], [1], [8, 3]]) {
      const { decoder, seen } = setUp();
      const before = process.memoryUsage().arrayBuffers;
      expect(() => {
        for (const chunk of cut(header, sizes)) decoder.push(chunk);
      }).toThrow(ProtocolError);
      expect(seen).toEqual([]);
      // A length is a claim: nothing was allocated for it.
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
    }
  });

  test('accepts a data frame that fills the window to the last byte', () => {
    const payload = pattern(WINDOW - 8);
    const { decoder, seen } = setUp();
    for (const chunk of cut(encodeFrame({ kind: 0, id: 1, flags: 0, payload }), [1000])) decoder.push(chunk);
    expect(seen[0]?.payload).toEqual(payload);
  });

  test('delivers what came before a broken frame', () => {
    const good = encodeFrame({ kind: 0, id: 1, flags: 0, payload: pattern(5) });
    const bad = encodeFrame({ kind: 12, id: 0, flags: 0, payload: pattern(0) });
    const { decoder, seen } = setUp();
    expect(() => decoder.push(concat([good, good, bad, good]))).toThrow(ProtocolError);
    expect(seen.length).toBe(2);
  });

  test('ends the connection of a peer that sends more than the window without waiting for credit', () => {
    const { decoder, seen } = setUp({ release: () => false });
    const frame = encodeFrame({ kind: 0, id: 0, flags: 0, payload: pattern(1000) });
    expect(() => {
      for (let i = 0; i < 1000; i++) decoder.push(frame.slice());
    }).toThrow(/inside the window of 65536 bytes/);
    expect(seen.length).toBe(Math.floor(WINDOW / 1008));
  });

  test('hands on batches of at most 256 frames, and stops in the middle of a chunk when the channel was closed', () => {
    const tiny = concat(
      Array.from({ length: 900 }, (_, id) => encodeFrame({ kind: 0, id, flags: 0, payload: pattern(1) })),
    );
    const all = setUp();
    all.decoder.push(tiny);
    expect(all.batches).toEqual([MAX_BATCH_FRAMES, MAX_BATCH_FRAMES, MAX_BATCH_FRAMES, 900 - 3 * MAX_BATCH_FRAMES]);
    const closed = setUp({ until: 257 });
    closed.decoder.push(tiny);
    expect(closed.batches).toEqual([MAX_BATCH_FRAMES, MAX_BATCH_FRAMES]);
  });

  test('views frames in the chunk that they came in, and copies only those that span chunks', () => {
    const { decoder, frames } = setUp({ release: () => false });
    const chunk = concat([0, 1, 2].map((id) => encodeFrame({ kind: 0, id, flags: 0, payload: pattern(100, id) })));
    decoder.push(chunk.slice(0, 250));
    decoder.push(chunk.slice(250));
    expect(frames.map((frame) => frame.owned)).toEqual([false, false, true]);
    expect(frames[0]?.payload.buffer).toBe(frames[1]?.payload.buffer);
    expect(frames[2]?.payload.buffer.byteLength).toBe(100);
  });

  test('copies a message of 16 MiB that comes in chunks of 1 KiB once, into memory of its size', () => {
    const payload = pattern(16 * MiB);
    const chunks = cut(encodeFrame({ kind: 0, id: 1, flags: 0, payload }), [1024]);
    const frames: Frame[] = [];
    const window = new ReceiveWindow(32 * MiB, () => {});
    const decoder = new FrameDecoder(window, 32 * MiB, {
      deliver: (batch) => frames.push(...batch) > 0,
      credit: () => {},
      goaway: () => {},
      released: () => {},
    });
    const counts = countCopies(() => {
      for (const chunk of chunks) decoder.push(chunk);
    });
    expect(counts).toEqual({ copiedBytes: 16 * MiB, allocatedBytes: 16 * MiB });
    expect(frames.map((frame) => digest(frame.payload))).toEqual([digest(payload)]);
  });

  test('pins no more read chunks than about a window, whatever is held of each', () => {
    const { decoder, frames, window } = setUp({ release: (index) => index % 20 !== 0 });
    let id = 0;
    for (let i = 0; i < 40; i++) {
      const chunk = concat(
        Array.from({ length: 20 }, () => encodeFrame({ kind: 3, id: id++, flags: 0, payload: pattern(1000, id) })),
      );
      decoder.push(chunk);
      window.settle();
      expect(decoder.pinnedBytes).toBeLessThanOrEqual(WINDOW + chunk.byteLength);
    }
    expect(frames[0]?.owned).toBe(false);
    expect(frames.at(-20)?.owned).toBe(true);
    expect(frames.at(-20)?.payload.buffer.byteLength).toBe(1000);
    expect(frames.every((frame, index) => Buffer.compare(frame.payload, pattern(1000, index + 1)) === 0)).toBe(true);
  });

  test('notices a goaway, and hands it on', () => {
    const { decoder, seen, goaways } = setUp();
    decoder.push(encodeFrame({ kind: KIND_GOAWAY, id: 0, flags: 0, payload: pattern(0) }));
    expect(goaways()).toBe(1);
    expect(seen.map(({ kind }) => kind)).toEqual([KIND_GOAWAY]);
  });

  test('needs no release of control frames', () => {
    const { decoder, frames, window } = setUp({ release: () => false });
    const credit = encodeFrame({ kind: KIND_CREDIT, id: 7, flags: 0, payload: pattern(4) });
    for (let i = 0; i < 10_000; i++) decoder.push(credit.slice());
    expect(frames.length).toBe(10_000);
    expect(frames.every((frame) => isControl(frame.kind) && frame.owned)).toBe(true);
    expect(window.heldBytes).toBe(0);
    expect(decoder.pinnedBytes).toBe(0);
  });

  test('knows when it is in the middle of a frame', () => {
    const { decoder } = setUp();
    const bytes = encodeFrame({ kind: 0, id: 0, flags: 0, payload: pattern(3) });
    for (const [index, chunk] of cut(bytes, [1]).entries()) {
      decoder.push(chunk);
      expect(decoder.midFrame).toBe(index < bytes.byteLength - 1);
    }
  });
});
