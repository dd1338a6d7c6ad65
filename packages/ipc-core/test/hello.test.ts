import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IpcError } from '../src/errors.ts';
import {
  decodeHello,
  encodeHello,
  errorOfRefusal,
  type Hello,
  HELLO_HEADER_BYTES,
  helloByteLength,
  MAGIC_WORD,
  MAX_HELLO_APPLICATION_BYTES,
  MAX_HELLO_BYTES,
  PROTOCOL_VERSION,
  refusalHello,
} from '../src/hello.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const hello: fc.Arbitrary<Hello> = fc.record({
  windowBytes: u32,
  streamWindowBytes: u32,
  maxMessageBytes: u32,
  pushes: fc.boolean(),
  streams: fc.boolean(),
  application: fc.option(
    fc.uint8Array({ maxLength: 500 }).map((bytes) => new Uint8Array(bytes)),
    { nil: undefined },
  ),
  takeover: fc.boolean(),
  refusal: fc.option(
    fc.record({ code: fc.constantFrom('ERR_IPC_OVERLOADED', 'ERR_IPC_VERSION'), message: fc.string() }),
    { nil: undefined },
  ),
});

const HELLO: Hello = {
  windowBytes: 1 << 20,
  streamWindowBytes: 1 << 18,
  maxMessageBytes: 1 << 26,
  pushes: true,
  streams: true,
};

/** Adds a field at the end of an encoded hello. */
function withField(bytes: Uint8Array, type: number, value: Uint8Array): Uint8Array {
  const extended = new Uint8Array(bytes.byteLength + 4 + value.byteLength);
  extended.set(bytes);
  const view = new DataView(extended.buffer);
  view.setUint16(bytes.byteLength, type, true);
  view.setUint16(bytes.byteLength + 2, value.byteLength, true);
  extended.set(value, bytes.byteLength + 4);
  view.setUint32(12, extended.byteLength - HELLO_HEADER_BYTES, true);
  return extended;
}

test('what a hello says arrives', () => {
  fc.assert(
    fc.property(hello, (said) => {
      const bytes = encodeHello(said);
      expect(helloByteLength(bytes)).toBe(bytes.byteLength);
      expect(decodeHello(bytes)).toEqual({ ...said, version: PROTOCOL_VERSION });
    }),
  );
});

test('no length of a plain message can be taken for a hello', () => {
  const bytes = encodeHello(HELLO);
  expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(MAGIC_WORD);
  expect(MAGIC_WORD).toBeGreaterThanOrEqual(2 ** 30);
});

test('its length is known as soon as its header is there', () => {
  const bytes = encodeHello({ ...HELLO, application: new Uint8Array(100) });
  for (let known = 0; known <= bytes.byteLength; known++) {
    expect(helloByteLength(bytes.subarray(0, known))).toBe(known < HELLO_HEADER_BYTES ? undefined : bytes.byteLength);
  }
});

test('any bytes at all decode, or are refused with an error of ours', () => {
  const start = encodeHello(HELLO);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(start.byteLength), (noise, kept) => {
      const bytes = new Uint8Array(kept + noise.byteLength);
      bytes.set(start.subarray(0, kept));
      bytes.set(noise, kept);
      try {
        decodeHello(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(IpcError);
      }
    }),
    { numRuns: 2000 },
  );
});

test('one changed byte of the magic is noticed with the first byte', () => {
  const bytes = encodeHello(HELLO);
  for (let i = 0; i < 8; i++) {
    const broken = new Uint8Array(bytes);
    broken[i]! ^= 1;
    expect(() => helloByteLength(broken.subarray(0, i + 1))).toThrow(/Expected a hello that opens with the magic/);
  }
});

test('fields of later versions are passed over', () => {
  const extended = withField(encodeHello(HELLO), 4000, new Uint8Array(77));
  expect(decodeHello(extended)).toMatchObject({ ...HELLO });
});

describe('refusing', () => {
  const cases: Array<[string, () => Uint8Array, RegExp]> = [
    ['when a number has not 4 bytes', () => withField(encodeHello(HELLO), 1, new Uint8Array(3)), /4 bytes/],
    [
      'when its application bytes are too many',
      () => withField(encodeHello(HELLO), 5, new Uint8Array(MAX_HELLO_APPLICATION_BYTES + 1)),
      /application bytes/,
    ],
    [
      'when a field ends outside of it',
      () => {
        const bytes = withField(encodeHello(HELLO), 9, new Uint8Array(4));
        new DataView(bytes.buffer).setUint16(bytes.byteLength - 6, 5, true);
        return bytes;
      },
      /end inside the hello/,
    ],
    [
      'when a field is cut',
      () => {
        const bytes = encodeHello(HELLO);
        const cut = new Uint8Array(bytes.byteLength + 3);
        cut.set(bytes);
        new DataView(cut.buffer).setUint32(12, cut.byteLength - HELLO_HEADER_BYTES, true);
        return cut;
      },
      /whole field/,
    ],
    [
      'when it is larger than any hello',
      () => {
        const bytes = encodeHello(HELLO);
        new DataView(bytes.buffer).setUint32(12, MAX_HELLO_BYTES, true);
        return bytes;
      },
      /at most/,
    ],
    ['when it is not whole', () => encodeHello(HELLO).subarray(0, 30), /Expected a hello of/],
  ];
  for (const [title, make, message] of cases) {
    test(`a hello is refused ${title}`, () => {
      expect(() => decodeHello(make())).toThrow(expect.objectContaining({ code: 'ERR_IPC_PROTOCOL' }));
      expect(() => decodeHello(make())).toThrow(message);
    });
  }

  test('a hello is refused when it is of another version, unless it says why it refuses', () => {
    const other = encodeHello(HELLO);
    new DataView(other.buffer).setUint16(8, 7, true);
    expect(() => decodeHello(other)).toThrow(expect.objectContaining({ code: 'ERR_IPC_VERSION' }));
    const refusing = encodeHello(refusalHello(new IpcError('ERR_IPC_VERSION', 'I speak version 7')));
    new DataView(refusing.buffer).setUint16(8, 7, true);
    expect(decodeHello(refusing)).toMatchObject({
      version: 7,
      refusal: { code: 'ERR_IPC_VERSION', message: 'I speak version 7' },
    });
  });
});

test('a refusal becomes the error of the connection', () => {
  const { refusal } = decodeHello(encodeHello(refusalHello(new IpcError('ERR_IPC_OVERLOADED', 'full'))));
  expect(errorOfRefusal(refusal!)).toMatchObject({
    code: 'ERR_IPC_OVERLOADED',
    message: 'The server refused the connection: full',
  });
  // Codes of a later version are not ours to know.
  const strange = withField(encodeHello(HELLO), 7, new TextEncoder().encode('ERR_FROM_THE_FUTURE because'));
  expect(decodeHello(strange).refusal).toEqual({ code: 'ERR_IPC_PROTOCOL', message: 'because' });
});

test('application bytes over 16 KiB are not sent', () => {
  const fits = new Uint8Array(MAX_HELLO_APPLICATION_BYTES);
  expect(decodeHello(encodeHello({ ...HELLO, application: fits })).application).toEqual(fits);
  const over = new Uint8Array(MAX_HELLO_APPLICATION_BYTES + 1);
  expect(() => encodeHello({ ...HELLO, application: over })).toThrow(RangeError);
});
