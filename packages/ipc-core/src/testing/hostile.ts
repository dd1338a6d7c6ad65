/** Peers that break the protocol: it costs them their connection, and nobody else anything. */
import { from, lastValueFrom, map, of } from 'rxjs';
import { expect, test } from 'vitest';
import {
  FLAG_EXTENSION,
  FLAG_MORE,
  KIND_CANCEL,
  KIND_CREDIT,
  KIND_DUPLEX_REQUEST,
  KIND_END,
  KIND_ERROR,
  KIND_GOAWAY,
  KIND_ITEM,
  KIND_ONE_WAY,
  KIND_REQUEST,
  KIND_RESPONSE,
  KIND_STREAM_REQUEST,
  MAX_WIRE_ID,
} from '../frame.ts';
import { eventually } from './eventually.ts';
import { serveWith, type Fixture } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, u32 } from './payloads.ts';
import type { RawPeer } from './raw-peer.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

/** The opening fragment of a message of `bytes`. */
function opening(bytes: number, rest = 0): Uint8Array {
  const payload = new Uint8Array(8 + rest);
  payload.set(u32(bytes));
  return payload;
}

/** An extension block with these fields, padded. */
function extension(...fields: Array<[type: number, length: number, value: Uint8Array]>): Uint8Array {
  const size = fields.reduce((sum, [, , value]) => sum + 4 + value.byteLength, 0);
  const block = new Uint8Array((2 + size + 7) & ~7);
  const view = new DataView(block.buffer);
  view.setUint16(0, size, true);
  let at = 2;
  for (const [type, length, value] of fields) {
    view.setUint8(at, type);
    view.setUint16(at + 2, length, true);
    block.set(value, at + 4);
    at += 4 + value.byteLength;
  }
  return block;
}

type Attack = (raw: RawPeer) => void | Promise<void>;

const BREACHES: ReadonlyArray<readonly [title: string, attack: Attack]> = [
  [
    'a wire id that is in use',
    async (raw) => {
      await raw.send(KIND_REQUEST, 1, bytesOf('never'));
      await raw.send(KIND_REQUEST, 1, bytesOf('never'));
    },
  ],
  [
    'a wire id that is in use by a stream',
    async (raw) => {
      await raw.send(KIND_STREAM_REQUEST, 1, bytesOf('never'));
      await raw.send(KIND_REQUEST, 1, bytesOf('never'));
    },
  ],
  ['a response', (raw) => raw.send(KIND_RESPONSE, 1, u32(1))],
  [
    'more bytes in fragments than were announced',
    async (raw) => {
      await raw.send(KIND_REQUEST, 1, opening(100), FLAG_MORE);
      await raw.send(KIND_REQUEST, 1, pattern(101), FLAG_MORE);
    },
  ],
  [
    'fewer bytes in fragments than were announced',
    async (raw) => {
      await raw.send(KIND_REQUEST, 1, opening(100), FLAG_MORE);
      await raw.send(KIND_REQUEST, 1, pattern(99));
    },
  ],
  ['a first fragment without the total', (raw) => raw.send(KIND_REQUEST, 1, pattern(7), FLAG_MORE)],
  [
    'another frame between the fragments',
    async (raw) => {
      await raw.send(KIND_REQUEST, 1, opening(100), FLAG_MORE);
      await raw.send(KIND_REQUEST, 2, pattern(10));
    },
  ],
  [
    'a fragment of another kind',
    async (raw) => {
      await raw.send(KIND_REQUEST, 1, opening(100), FLAG_MORE);
      await raw.send(KIND_ONE_WAY, 1, pattern(10), FLAG_MORE);
    },
  ],
  [
    'an extension in a later fragment',
    async (raw) => {
      await raw.send(KIND_REQUEST, 1, opening(100), FLAG_MORE);
      await raw.send(KIND_REQUEST, 1, extension([1, 4, u32(5)]), FLAG_MORE | FLAG_EXTENSION);
    },
  ],
  ['fragments of an end', (raw) => raw.send(KIND_END, 1, opening(100), FLAG_MORE)],
  ['fragments of a response', (raw) => raw.send(KIND_RESPONSE, 1, opening(100), FLAG_MORE)],
  [
    'an extension in a frame without room for one',
    (raw) => raw.send(KIND_REQUEST, 1, new Uint8Array(1), FLAG_EXTENSION),
  ],
  [
    'an extension that is longer than its frame',
    (raw) => raw.send(KIND_REQUEST, 1, Uint8Array.of(0xff, 0xff, 0, 0, 0, 0, 0, 0), FLAG_EXTENSION),
  ],
  [
    'an extension field that is longer than its block',
    (raw) => raw.send(KIND_REQUEST, 1, extension([3, 500, new Uint8Array(4)]), FLAG_EXTENSION),
  ],
  ['a deadline of two bytes', (raw) => raw.send(KIND_REQUEST, 1, extension([1, 2, new Uint8Array(2)]), FLAG_EXTENSION)],
  [
    'metadata that ends in the middle',
    (raw) => raw.send(KIND_REQUEST, 1, extension([3, 4, Uint8Array.of(9, 0, 1, 1)]), FLAG_EXTENSION),
  ],
  [
    'metadata that is no text',
    (raw) => raw.send(KIND_REQUEST, 1, extension([3, 6, Uint8Array.of(1, 0, 0xff, 1, 0, 0xff)]), FLAG_EXTENSION),
  ],
  [
    'metadata over 1 KiB',
    (raw) => {
      const value = new Uint8Array(1030);
      return raw.send(KIND_REQUEST, 1, extension([3, value.byteLength, value]), FLAG_EXTENSION);
    },
  ],
  ['credit of three bytes', (raw) => void raw.trySend(KIND_CREDIT, 1, new Uint8Array(3))],
];

export function describeHostile(transport: TransportUnderTest): void {
  async function start(): Promise<Fixture> {
    return serveWith(
      transport,
      (_id, request, info) => {
        if (request.byteLength === 5) return new Promise(() => undefined);
        return info.input$ ?? request;
      },
      { maxMessageBytes: 1 << 20 },
    );
  }

  for (const [title, attack] of BREACHES) {
    test(`${title}: that client is dropped with reason protocol, others go on`, async () => {
      const fixture = await start();
      const other = await fixture.client();
      const running = other.request$(bytesOf('never')).subscribe({ error: () => undefined });
      const raw = await fixture.raw();
      await attack(raw);
      await raw.untilClosed();
      await eventually('it has left', () => fixture.disconnects().length === 1);
      expect(fixture.disconnects()[0]).toMatchObject({
        reason: 'protocol',
        error: { code: 'ERR_IPC_PROTOCOL' },
      });
      for (let i = 0; i < 10; i++) expect(readU32(await other.request(u32(i)))).toBe(i);
      expect(running.closed).toBe(false);
      running.unsubscribe();
    });
  }

  test('what may have crossed on the way is no breach', async () => {
    const fixture = await start();
    const raw = await fixture.raw();
    for (const id of [1, 77, MAX_WIRE_ID]) {
      raw.trySend(KIND_CANCEL, id);
      raw.trySend(KIND_CREDIT, id, u32(5));
      await raw.send(KIND_ITEM, id, u32(1));
      await raw.send(KIND_ERROR, id, bytesOf('not even JSON'));
      await raw.send(KIND_END, id);
      // Fragments of an item for a request that has ended.
      await raw.send(KIND_ITEM, id, opening(20), FLAG_MORE);
      await raw.send(KIND_ITEM, id, pattern(20));
    }
    raw.trySend(KIND_GOAWAY, 0);
    await raw.send(KIND_REQUEST, 5, u32(9));
    await raw.untilEnded(5);
    expect(fixture.disconnects()).toEqual([]);
  });

  test('unknown fields of an extension are passed over', async () => {
    const fixture = await start();
    const raw = await fixture.raw();
    const block = extension([200, 9, pattern(9)], [1, 4, u32(60_000)], [0, 0, new Uint8Array(0)]);
    const payload = pattern(30);
    const frame = new Uint8Array(block.byteLength + payload.byteLength);
    frame.set(block);
    frame.set(payload, block.byteLength);
    await raw.send(KIND_REQUEST, 1, frame, FLAG_EXTENSION);
    expect(sameBytes((await raw.untilEnded(1)).payload, payload)).toBe(true);
  });

  test('ids of the whole range are served, in any order', async () => {
    const fixture = await start();
    const raw = await fixture.raw();
    const ids = [MAX_WIRE_ID, 4095, 4096, 1, 65_536, MAX_WIRE_ID - 1, 4097];
    for (const id of ids) await raw.send(KIND_REQUEST, id, u32(id));
    for (const id of ids) expect(readU32((await raw.untilEnded(id)).payload)).toBe(id);
  });

  test('credit of any size is borne', async () => {
    const fixture = await serveWith(transport, () => from(Array.from({ length: 50 }, (_, i) => i)).pipe(map(u32)));
    const raw = await fixture.raw({ streamWindowBytes: 1024 });
    await raw.send(KIND_STREAM_REQUEST, 1);
    for (let i = 0; i < 1000; i++) raw.credit(1, 0xffff_ffff);
    await raw.untilEnded(1);
    expect(raw.ofKind(KIND_ITEM, 1).length).toBe(50);
    expect(fixture.disconnects()).toEqual([]);
  });

  test('a client that opens and cancels for ever costs nothing but its own window', async () => {
    const fixture = await serveWith(transport, () => of(u32(1)));
    const other = await fixture.client();
    const raw = await fixture.raw();
    for (let i = 0; i < 2000; i++) {
      const id = 1 + (i % 50);
      const before = Math.floor(i / 50);
      if (i >= 50) await eventually('the id is free', () => raw.terminals(id).length === before);
      await raw.send(i % 2 === 0 ? KIND_STREAM_REQUEST : KIND_DUPLEX_REQUEST, id, bytesOf('never'));
      raw.cancel(id);
    }
    await eventually('all have ended', () => fixture.server.stats.openRequests === 0);
    expect(readU32(await lastValueFrom(other.request$(u32(1))))).toBe(1);
    expect(fixture.disconnects()).toEqual([]);
  });

  test('half a message and then nothing: the client is dropped as stalled, and its memory is free', async () => {
    const size = 100_000;
    const fixture = await serveWith(transport, (_id, request) => request.slice(0, 4), {
      maxMessageBytes: size,
      maxReassemblyBytes: size,
      stalledClient: { afterMs: 40 },
    });
    const raw = await fixture.raw();
    await raw.send(KIND_REQUEST, 1, opening(size), FLAG_MORE);
    const client = await fixture.client();
    const payload = pattern(size);
    payload.set(u32(7));
    expect(readU32(await client.request(payload))).toBe(7);
    await eventually('it is dropped', () => fixture.disconnects().length === 1);
    expect(fixture.disconnects()[0]).toMatchObject({ reason: 'stalled', error: { code: 'ERR_IPC_TIMEOUT' } });
    await raw.untilClosed();
  });

  test('a client that does not take its answers is dropped as stalled, and one that only waits is not', async () => {
    const fixture = await serveWith(transport, () => pattern(60_000), {
      stalledClient: { afterMs: 40 },
      responseWindowBytes: 64 * 1024,
    });
    const patient = await fixture.client();
    const raw = await fixture.raw({ holding: true, responseWindowBytes: 64 * 1024 });
    for (let id = 1; id <= 10; id++) await raw.send(KIND_REQUEST, id);
    await eventually('it is dropped', () => fixture.disconnects().length === 1);
    expect(fixture.disconnects()[0]).toMatchObject({ reason: 'stalled' });
    expect((await patient.request(u32(1))).byteLength).toBe(60_000);
    expect(fixture.server.stats.openRequests).toBe(0);
  });
}
