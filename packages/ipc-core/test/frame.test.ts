import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import * as frame from '../src/frame.ts';

test('a header holds length, flags, kind and id without loss', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: frame.MAX_LENGTH }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 15 }),
      fc.integer({ min: 0, max: frame.MAX_WIRE_ID }),
      (length, flags, kind, id) => {
        const first = frame.packLength(length, flags);
        const second = frame.packKindAndId(kind, id);
        for (const word of [first, second]) {
          expect(word).toBeGreaterThanOrEqual(0);
          expect(word).toBeLessThan(2 ** 32);
        }
        expect([first & frame.MAX_LENGTH, first >>> 30]).toEqual([length, flags]);
        expect([second & frame.MAX_WIRE_ID, second >>> 28]).toEqual([id, kind]);
      },
    ),
  );
});

test('the numbers of the wire are what they are', () => {
  expect([
    frame.KIND_REQUEST,
    frame.KIND_STREAM_REQUEST,
    frame.KIND_DUPLEX_REQUEST,
    frame.KIND_ONE_WAY,
    frame.KIND_RESPONSE,
    frame.KIND_ITEM,
    frame.KIND_END,
    frame.KIND_ERROR,
    frame.KIND_CANCEL,
    frame.KIND_GOAWAY,
    frame.KIND_CREDIT,
  ]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect([frame.FLAG_EXTENSION, frame.FLAG_MORE]).toEqual([1, 2]);
  expect([frame.HEADER_BYTES, frame.TOTAL_BYTES, frame.MAX_CONTROL_BYTES]).toEqual([8, 8, 64]);
});

test('cancel, goaway and credit are control, and nothing else is', () => {
  expect(Array.from({ length: 11 }, (_, kind) => frame.isControl(kind))).toEqual([
    ...Array(8).fill(false),
    true,
    true,
    true,
  ]);
});

test('align8 gives the next multiple of 8', () => {
  expect([0, 1, 7, 8, 9, 16, 17].map((bytes) => frame.align8(bytes))).toEqual([0, 8, 8, 8, 16, 16, 24]);
});
