import * as fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '@spanwire/ipc-core';
import { decodeAnswer, decodeRequest, encodeAnswer, encodeError, encodeRequest } from '../src/codec.ts';
import { InvalidPayloadError, InvalidResponseError, UnknownCommandError, VersionMismatchError } from '../src/errors.ts';
import { MAX_DEPTH, MAX_VALUES, msgpackProblem } from '../src/msgpack-scan.ts';

const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false, undefined),
    fc.integer(),
    // -0 becomes 0, as in JSON.
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => (x === 0 ? 0 : x)),
    fc.string(),
    fc.bigInt({ min: -(2n ** 2000n), max: 2n ** 2000n }),
    fc.uint8Array(),
    fc.date({ noInvalidDate: true, min: new Date(-1e12), max: new Date(4e12) }),
    fc.array(tie('value')),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
    ),
  ),
})).value;

describe('what travels', () => {
  it('comes out as it went in: plain data, bytes, bigints and dates', () => {
    fc.assert(
      fc.property(plain, (value) => {
        expect(decodeRequest(encodeRequest('c', value))).toEqual({ command: 'c', payload: plainPrototypes(value) });
        expect(decodeAnswer('c', encodeAnswer('c', value))).toEqual(plainPrototypes(value));
      }),
    );
  });

  it('keeps nothing of the bytes it came in', () => {
    const bytes = new Uint8Array(encodeRequest('c', { data: Uint8Array.of(1, 2, 3), text: 'abc' }));
    const { payload } = decodeRequest(bytes);
    bytes.fill(0);
    expect(payload).toEqual({ data: Uint8Array.of(1, 2, 3), text: 'abc' });
    expect((payload as { data: Uint8Array }).data.buffer).not.toBe(bytes.buffer);
  });

  it('is refused where msgpack cannot say it', () => {
    const circle: unknown[] = [];
    circle.push(circle);
    for (const value of [circle, { key: Symbol('s') }]) {
      expect(() => encodeRequest('c', value)).toThrow('the payload of "c" to be plain data');
      expect(() => encodeAnswer('c', value)).toThrow(TypeError);
    }
  });

  it('carries the errors of the command protocol with all they have', () => {
    const issues = [{ message: 'Expected a number', path: ['list', 3, 'x'] }];
    for (const error of [
      new InvalidPayloadError('c', issues),
      new InvalidPayloadError(undefined, issues),
      new InvalidResponseError('c', issues),
      new UnknownCommandError('c'),
      new VersionMismatchError('c', 'a', 'b'),
    ]) {
      const received = thrownBy(() => decodeAnswer('c', encodeError(error)));
      expect(received).toBeInstanceOf(error.constructor);
      expect(received).toMatchObject({ message: error.message, ...fieldsOf(error) });
    }
  });

  it('is no answer when it is anything else', () => {
    const packr = new Packr({ useRecords: false });
    for (const value of [null, 5, [], [0, 1, 2], [1], [2, 3], { 0: 0 }, [1, null], [1, { kind: 'other' }]]) {
      expect(() => decodeAnswer('c', packr.pack(value))).toThrow(ProtocolError);
    }
    expect(() => decodeAnswer('c', Uint8Array.of(0xc1))).toThrow(ProtocolError);
    // Issues that are none are dropped, not believed.
    const odd = packr.pack([1, { kind: 'payload', command: 'c', issues: [null, { message: 5, path: [{}, 'a'] }] }]);
    expect(thrownBy(() => decodeAnswer('c', odd))).toMatchObject({
      issues: [
        { message: '', path: [] },
        { message: '', path: ['a'] },
      ],
    });
  });
});

describe('bytes that are no request', () => {
  it('are refused, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const error = thrownBy(() => decodeRequest(bytes));
        if (error !== undefined) expect(error).toBeInstanceOf(InvalidPayloadError);
      }),
      { numRuns: 2000 },
    );
  });

  it('are refused when they are cut short anywhere', () => {
    const whole = encodeRequest('command', {
      list: [1, -1, 300, 70_000, 2.5, 5n, 2n ** 70n],
      text: 'x'.repeat(300),
      bytes: new Uint8Array(300),
      date: new Date(0),
      nothing: undefined,
    });
    for (let length = 0; length < whole.byteLength; length++) {
      expect(msgpackProblem(whole.subarray(0, length))).toMatch(/end of the bytes|longer than its bytes/);
    }
    expect(msgpackProblem(whole)).toBeUndefined();
    expect(msgpackProblem(new Uint8Array([...whole, 0]))).toBe('1 bytes after the value');
  });

  it('cannot announce more than they hold', () => {
    const announcing = [
      // Lists and maps of 2^32 - 1 and of 65,535.
      [0xdd, 0xff, 0xff, 0xff, 0xff],
      [0xdf, 0xff, 0xff, 0xff, 0xff],
      [0xdc, 0xff, 0xff],
      [0xde, 0xff, 0xff],
      // 4 GiB of text, of bytes, of an extension.
      [0xdb, 0xff, 0xff, 0xff, 0xff],
      [0xc6, 0xff, 0xff, 0xff, 0xff],
      [0xc9, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for (const bytes of announcing) {
      expect(msgpackProblem(Uint8Array.from(bytes))).toMatch(/longer than its bytes|end of the bytes/);
    }
  });

  it('cannot nest without end, hold values without end, or use extensions that a decoder obeys', () => {
    expect(msgpackProblem(new Uint8Array(MAX_DEPTH).fill(0x91, 0, MAX_DEPTH - 1))).toBeUndefined();
    expect(msgpackProblem(new Uint8Array(10_000_000).fill(0x91))).toContain('nested more than');
    const many = new Uint8Array(MAX_VALUES + 5).fill(0xc0);
    many.set([0xdd, 0, 0x40, 0, 0], 0);
    expect(msgpackProblem(many)).toContain('more than');
    for (const extension of [0x72, 0x69, 0x70, 0x65, 0x78, 0x74, 0x62, 0x73]) {
      expect(msgpackProblem(Uint8Array.of(0xd4, extension, 0))).toBe(`an extension of type ${extension}`);
    }
    const big = new Uint8Array(4 + 2000);
    big.set([0xc8, 2000 >> 8, 2000 & 0xff, 66]);
    expect(msgpackProblem(big)).toBe('an integer of 2000 bytes');
    expect(msgpackProblem(Uint8Array.of(0xc1))).toContain('byte 193');
  });

  it('do not reach the prototype of anything', () => {
    const packr = new Packr({ useRecords: false });
    const bytes = packr.pack(['c', new Map([['__proto__', { polluted: true }]])]);
    const { payload } = decodeRequest(bytes);
    expect((payload as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(payload)).toBe(Object.prototype);
  });
});

function fieldsOf(error: Error): Record<string, unknown> {
  return Object.fromEntries(Object.entries(error));
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** fast-check also makes objects without a prototype; decoded ones have one. */
function plainPrototypes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainPrototypes);
  if (typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plainPrototypes(each)]));
}
