import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeFailure, encodeFailure, encodeOwnError } from '../src/error-frame.ts';
import { IpcError, ProtocolError, RemoteError, TimeoutError, type IpcErrorCode } from '../src/errors.ts';

/** As the unit 'binary' of fast-check, which takes seconds to make on a busy machine. */
const character = fc
  .oneof(fc.integer({ min: 0, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10_ffff }))
  .map((codePoint) => String.fromCodePoint(codePoint));

test('any value at all can be told to the other side, in the room that there is', () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true }), (value) => {
      const bytes = encodeFailure(value, 1024);
      expect(bytes.byteLength).toBeLessThanOrEqual(1024);
      expect(decodeFailure(bytes)).toBeInstanceOf(RemoteError);
    }),
  );
});

test('name, message and code arrive, cut where they are longer than there is room', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: character, maxLength: 3000 }),
      fc.string({ unit: character, maxLength: 600 }),
      fc.string({ unit: character, maxLength: 600 }),
      fc.integer({ min: 64, max: 8192 }),
      (message, name, code, maxBytes) => {
        const bytes = encodeFailure(Object.assign(new Error(message), { name, code }), maxBytes);
        expect(bytes.byteLength).toBeLessThanOrEqual(maxBytes);
        const { remote } = decodeFailure(bytes) as RemoteError;
        // A cut may go through a pair of surrogates, of which one half arrives.
        expect(message.startsWith(remote.message.slice(0, -1))).toBe(true);
        expect(name.startsWith(remote.name.slice(0, -1))).toBe(true);
        expect(code.startsWith((remote.code ?? '').slice(0, -1))).toBe(true);
      },
    ),
  );
  const whole = decodeFailure(encodeFailure(Object.assign(new RangeError('too far'), { code: 42 }), 1024));
  expect(whole).toMatchObject({
    code: 'ERR_IPC_REMOTE',
    remote: { name: 'RangeError', message: 'too far', code: '42' },
  });
});

test('a stack never leaves', () => {
  const error = new Error('secret place');
  const text = new TextDecoder().decode(encodeFailure(error, 8192));
  expect(Object.keys(JSON.parse(text) as object)).toEqual(['name', 'message']);
});

test('our own errors arrive as such, and those that a handler only passed on do not', () => {
  const codes: IpcErrorCode[] = ['ERR_IPC_REFUSED', 'ERR_IPC_CANCELLED', 'ERR_IPC_MESSAGE_TOO_LARGE'];
  for (const code of codes) {
    const own = decodeFailure(encodeOwnError(new IpcError(code, 'ours')));
    expect(own).not.toBeInstanceOf(RemoteError);
    expect(own).toMatchObject({ code, message: 'ours' });
    expect(decodeFailure(encodeFailure(new IpcError(code, 'theirs'), 1024))).toMatchObject({
      code: 'ERR_IPC_REMOTE',
      remote: { name: 'IpcError', code },
    });
  }
  expect(decodeFailure(encodeOwnError(new TimeoutError('late', 5)))).toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
  expect(encodeOwnError(new ProtocolError('x'.repeat(100_000))).byteLength).toBeLessThanOrEqual(1024);
});

test('any bytes at all are a failure of the other side', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc.json().map((text) => new TextEncoder().encode(text)),
      ),
      (bytes) => {
        expect(decodeFailure(bytes)).toBeInstanceOf(IpcError);
      },
    ),
  );
});
