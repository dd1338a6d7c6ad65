import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ProtocolError } from '../src/errors.ts';
import { decodeExtension, encodeExtension, MAX_METADATA_BYTES, TRACEPARENT_KEY } from '../src/extension.ts';

const wellFormed = fc.string({ unit: 'grapheme', maxLength: 40 });

test('deadline and metadata arrive, and the payload begins on 8 bytes', () => {
  fc.assert(
    fc.property(
      fc.option(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { nil: undefined }),
      fc.option(fc.array(fc.tuple(wellFormed, wellFormed), { maxLength: 5 }), { nil: undefined }),
      fc.option(wellFormed, { nil: undefined }),
      fc.uint8Array({ maxLength: 30 }),
      (deadlineMs, entries, traceparent, payload) => {
        const metadata = entries === undefined && traceparent === undefined ? undefined : new Map(entries);
        if (traceparent !== undefined) metadata?.set(TRACEPARENT_KEY, traceparent);
        const block = encodeExtension({ deadlineMs, metadata });
        expect(block.byteLength % 8).toBe(0);
        const frame = new Uint8Array(block.byteLength + payload.byteLength);
        frame.set(block);
        frame.set(payload, block.byteLength);
        const decoded = decodeExtension(frame);
        expect(decoded.byteLength).toBe(block.byteLength);
        expect(decoded.deadlineMs).toBe(deadlineMs);
        expect(decoded.metadata ?? new Map()).toEqual(metadata ?? new Map());
      },
    ),
  );
});

test('any bytes at all decode, or break the protocol, and nothing else happens', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(100), (bytes, size) => {
      // A likely size first, so that fields are looked at.
      if (bytes.byteLength >= 2) bytes.set([size, 0]);
      try {
        const { byteLength } = decodeExtension(bytes);
        expect(byteLength).toBeLessThanOrEqual(bytes.byteLength);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
    { numRuns: 5000 },
  );
});

test('part of a millisecond that remains is rounded up, and less than nothing is 0', () => {
  const through = (deadlineMs: number): number | undefined =>
    decodeExtension(encodeExtension({ deadlineMs, metadata: undefined })).deadlineMs;
  expect([0.2, 1, 1.5, -5, 5200].map(through)).toEqual([1, 1, 2, 0, 5200]);
});

test('metadata of exactly 1 KiB encoded passes, one byte more does not', () => {
  const sized = (bytes: number): Map<string, string> => new Map([['key', 'v'.repeat(bytes - 4 - 3)]]);
  expect(decodeExtension(encodeExtension({ deadlineMs: 1, metadata: sized(MAX_METADATA_BYTES) })).metadata).toEqual(
    sized(MAX_METADATA_BYTES),
  );
  expect(() => encodeExtension({ deadlineMs: 1, metadata: sized(MAX_METADATA_BYTES + 1) })).toThrow(RangeError);
  const trace = new Map([[TRACEPARENT_KEY, 't'.repeat(1025)]]);
  expect(() => encodeExtension({ deadlineMs: undefined, metadata: trace })).toThrow(
    /at most 1024 bytes encoded, got 1025/,
  );
});

test('metadata that is no text is the mistake of the caller', () => {
  const metadata = new Map<string, unknown>([['key', 5]]) as Map<string, string>;
  expect(() => encodeExtension({ deadlineMs: undefined, metadata })).toThrow(TypeError);
});
