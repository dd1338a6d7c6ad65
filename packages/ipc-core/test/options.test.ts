import { describe, expect, test } from 'vitest';
import type { ClientOptions, ServerOptions } from '../src/options.ts';
import { helloOfClient, helloOfServer, resolveClientOptions, resolveServerOptions } from '../src/options.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

test('a server without options has the defaults', () => {
  expect(resolveServerOptions()).toEqual({
    maxMessageBytes: 64 * MiB,
    windowBytes: MiB,
    responseWindowBytes: MiB,
    streamWindowBytes: 256 * KiB,
    maxInFlight: 1024,
    maxClients: 512,
    maxMemoryBytes: 2048 * MiB,
    maxReassemblyBytes: 256 * MiB,
    stalledClient: { afterMs: 30_000, action: 'disconnect' },
    handshakeTimeoutMs: 5000,
    graceMs: 10_000,
    overflow: 'error',
    hello: undefined,
  });
});

test('a client without options has the defaults', () => {
  expect(resolveClientOptions()).toEqual({
    maxMessageBytes: 64 * MiB,
    windowBytes: MiB,
    responseWindowBytes: MiB,
    streamWindowBytes: 256 * KiB,
    maxPending: 1024,
    maxReassemblyBytes: 256 * MiB,
    handshakeTimeoutMs: 5000,
    graceMs: 10_000,
    overflow: 'error',
    hello: undefined,
    reconnect: false,
  });
});

test('what an option says is what counts, and undefined says nothing', () => {
  expect(resolveServerOptions({ maxInFlight: 7, windowBytes: undefined })).toMatchObject({
    maxInFlight: 7,
    windowBytes: MiB,
  });
  expect(resolveServerOptions({ stalledClient: { action: 'keep' } }).stalledClient).toEqual({
    afterMs: 30_000,
    action: 'keep',
  });
  expect(resolveClientOptions({ reconnect: { delaysMs: [0, 5, 100] } }).reconnect).toEqual({ delaysMs: [0, 5, 100] });
  expect(resolveClientOptions({ reconnect: false }).reconnect).toBe(false);
});

test('memory for fragments is never less than one message', () => {
  expect(resolveServerOptions({ maxMessageBytes: 2 ** 30 - 1 }).maxReassemblyBytes).toBe(2 ** 30 - 1);
  expect(() => resolveServerOptions({ maxMessageBytes: 1000, maxReassemblyBytes: 999 })).toThrow(RangeError);
});

test('application bytes are copied', () => {
  const hello = Buffer.from('hello');
  const settings = resolveClientOptions({ hello });
  hello.fill(0);
  expect(new TextDecoder().decode(settings.hello)).toBe('hello');
});

test('a hello says what its side takes', () => {
  expect(helloOfServer(resolveServerOptions({ windowBytes: 8 * KiB, maxMessageBytes: 5 }))).toMatchObject({
    windowBytes: 8 * KiB,
    maxMessageBytes: 5,
    pushes: false,
    streams: true,
  });
  expect(helloOfClient(resolveClientOptions({ windowBytes: 8 * KiB, responseWindowBytes: 16 * KiB }))).toMatchObject({
    windowBytes: 16 * KiB,
    pushes: true,
    streams: true,
  });
});

describe('what cannot be', () => {
  const numbers: ReadonlyArray<readonly [option: string, min: number, max: number]> = [
    ['maxMessageBytes', 1, 2 ** 30 - 1],
    ['streamWindowBytes', KiB, 1024 * MiB],
    ['maxReassemblyBytes', 64 * MiB, 2 ** 40],
    ['handshakeTimeoutMs', 1, 2 ** 31 - 1],
    ['windowBytes', 8 * KiB, 1024 * MiB],
    ['responseWindowBytes', 8 * KiB, 1024 * MiB],
    ['graceMs', 0, 2 ** 31 - 1],
  ];
  const ofServers: typeof numbers = [
    ...numbers,
    ['maxInFlight', 1, 2 ** 20],
    ['maxClients', 1, 65_536],
    ['maxMemoryBytes', 64 * KiB, 2 ** 40],
  ];
  const ofClients: typeof numbers = [...numbers, ['maxPending', 1, 2 ** 20]];

  for (const [side, resolve, table] of [
    ['server', (options: object) => resolveServerOptions(options), ofServers],
    ['client', (options: object) => resolveClientOptions(options), ofClients],
  ] as const) {
    for (const [option, min, max] of table) {
      test(`${option} of a ${side} is an integer from ${min} to ${max}`, () => {
        expect(resolve({ [option]: min })).toMatchObject({ [option]: min });
        // The largest message needs memory for it as well.
        const rest = option === 'maxMessageBytes' ? { maxReassemblyBytes: 2 ** 40 } : {};
        expect(resolve({ [option]: max, ...rest })).toMatchObject({ [option]: max });
        for (const bad of [min - 1, max + 1, min + 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
          expect(() => resolve({ [option]: bad })).toThrow(RangeError);
          expect(() => resolve({ [option]: bad })).toThrow(
            `Expected \`${option}\` to be an integer from ${min} to ${max}, got ${bad}`,
          );
        }
        for (const bad of ['5', null, {}, 5n]) expect(() => resolve({ [option]: bad })).toThrow(TypeError);
      });
    }
  }

  const others: ReadonlyArray<
    readonly [title: string, run: () => unknown, error: typeof TypeError | typeof RangeError]
  > = [
    ['options that are no object', () => resolveServerOptions(5 as ServerOptions), TypeError],
    ['options that are null', () => resolveClientOptions(null as unknown as ClientOptions), TypeError],
    ['another overflow', () => resolveServerOptions({ overflow: 'drop' as 'error' }), TypeError],
    [
      'another action for stalled clients',
      () => resolveServerOptions({ stalledClient: { action: 'kill' as 'keep' } }),
      TypeError,
    ],
    ['a stall of no time', () => resolveServerOptions({ stalledClient: { afterMs: 0 } }), RangeError],
    [
      'stalledClient that is no object',
      () => resolveServerOptions({ stalledClient: 5 as unknown as object }),
      TypeError,
    ],
    ['reconnect: true', () => resolveClientOptions({ reconnect: true as unknown as false }), TypeError],
    ['reconnect without delays', () => resolveClientOptions({ reconnect: { delaysMs: [] } }), TypeError],
    ['a delay below 0', () => resolveClientOptions({ reconnect: { delaysMs: [5, -1] } }), RangeError],
    ['application bytes that are text', () => resolveClientOptions({ hello: 'x' as unknown as Uint8Array }), TypeError],
    ['application bytes over 16 KiB', () => resolveServerOptions({ hello: new Uint8Array(16 * KiB + 1) }), RangeError],
  ];
  for (const [title, run, error] of others) {
    test(`${title}: refused, saying what was expected and what came`, () => {
      expect(run).toThrow(error);
      expect(run).toThrow(/^Expected `.+` to .+, got /);
    });
  }
});
