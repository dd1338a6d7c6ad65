import { lastValueFrom, NEVER, Observable, Subject, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import { encodeOwnError } from '../src/error-frame.ts';
import { IpcError } from '../src/errors.ts';
import {
  FLAG_EXTENSION,
  FLAG_IN_PLACE,
  FLAG_MORE,
  FLAG_OVERTAKING,
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
} from '../src/frame.ts';
import { failureOf } from '../src/testing/eventually.ts';
import { bytesOf, pattern, sameBytes, textOf, u32 } from '../src/testing/payloads.ts';
import { ScriptedFrame, type ScriptedChannel } from './support/scripted-channel.ts';
import { connectedClient } from './support/scripted-client.ts';

const frame = (kind: number, id: number, payload?: Uint8Array, flags?: number): ScriptedFrame =>
  new ScriptedFrame(kind, id, payload, flags);

/** The opening fragment of a message of `bytes`. */
function opening(kind: number, id: number, bytes: number): ScriptedFrame {
  const payload = new Uint8Array(8);
  payload.set(u32(bytes));
  return frame(kind, id, payload, FLAG_MORE);
}

/** The id of the last call that was sent. */
function lastId(channel: ScriptedChannel): number {
  return channel.sent.findLast(({ kind }) => kind <= KIND_DUPLEX_REQUEST)!.id;
}

const breaches: ReadonlyArray<readonly [title: string, attack: (channel: ScriptedChannel, id: number) => void]> = [
  ['an answer for a call that is not open', (channel, id) => channel.deliver(frame(KIND_RESPONSE, id + 1, u32(1)))],
  ['an item for a call that is not open', (channel, id) => channel.deliver(frame(KIND_ITEM, id + 1, u32(1)))],
  ['an end for a call that is not open', (channel) => channel.deliver(frame(KIND_END, 2 ** 28 - 1))],
  ['a request', (channel) => channel.deliver(frame(KIND_REQUEST, 1, u32(1)))],
  [
    'a second answer',
    (channel, id) => {
      channel.deliver(
        frame(KIND_ERROR, id, encodeOwnError(new IpcError('ERR_IPC_CANCELLED', 'x'))),
        frame(KIND_END, id),
      );
    },
  ],
  ['fragments of a call that is not open', (channel, id) => channel.deliver(opening(KIND_RESPONSE, id + 1, 100))],
  ['fragments of an error', (channel, id) => channel.deliver(opening(KIND_ERROR, id, 100))],
  [
    'more fragments than were announced',
    (channel, id) => channel.deliver(opening(KIND_RESPONSE, id, 10), frame(KIND_RESPONSE, id, pattern(11), FLAG_MORE)),
  ],
  [
    'another answer between the fragments of one',
    (channel, id) =>
      channel.deliver(opening(KIND_RESPONSE, id, 10), frame(KIND_RESPONSE, id, pattern(5), FLAG_EXTENSION)),
  ],
  ['credit of two bytes', (channel, id) => channel.deliver(frame(KIND_CREDIT, id, new Uint8Array(2)))],
  [
    'an extension without room for one',
    (channel, id) => channel.deliver(frame(KIND_RESPONSE, id, new Uint8Array(1), FLAG_EXTENSION)),
  ],
];

for (const [title, attack] of breaches) {
  test(`${title} ends the connection: open calls fail, and the client is closed`, async () => {
    const { client, channel, states } = await connectedClient();
    const failure = failureOf(client.request(bytesOf('x')));
    attack(channel, lastId(channel));
    expect(await failure).toBeInstanceOf(IpcError);
    expect(channel.closedWith).toBe('protocol');
    expect(states.at(-1)).toBe('closed');
    await expect(client.request(bytesOf('y'))).rejects.toMatchObject({ code: 'ERR_IPC_PROTOCOL' });
  });
}

test('items beyond the credit that was given end the connection', async () => {
  const { client, channel } = await connectedClient({ streamWindowBytes: 1024 });
  const items = client.request$(bytesOf('x'))[Symbol.asyncIterator]();
  const first = items.next();
  const id = lastId(channel);
  channel.deliver(frame(KIND_ITEM, id, pattern(10)));
  expect((await first).done).toBe(false);
  channel.deliver(frame(KIND_ITEM, id, pattern(1000)), frame(KIND_ITEM, id, pattern(1000)));
  expect(channel.closedWith).toBeUndefined();
  channel.deliver(frame(KIND_ITEM, id, pattern(1)));
  expect(channel.closedWith).toBe('protocol');
  const rest = [await items.next(), await items.next()];
  expect(rest.every(({ done }) => done === false)).toBe(true);
  await expect(items.next()).rejects.toMatchObject({ code: 'ERR_IPC_PROTOCOL' });
});

test('what may have crossed a cancel on the way is taken in silence, to the end of that call', async () => {
  const { client, channel } = await connectedClient();
  const received: number[] = [];
  const subscription = client.request$(bytesOf('x')).subscribe((item) => received.push(item.byteLength));
  const id = lastId(channel);
  channel.deliver(frame(KIND_ITEM, id, pattern(5)));
  subscription.unsubscribe();
  expect(channel.ofKind(KIND_CANCEL, id).length).toBe(1);
  const late = [
    frame(KIND_ITEM, id, pattern(6)),
    opening(KIND_ITEM, id, 20),
    frame(KIND_ITEM, id, pattern(20)),
    frame(KIND_END, id),
  ];
  channel.deliver(...late);
  expect(received).toEqual([5]);
  expect(late.every(({ releases }) => releases === 1)).toBe(true);
  expect(channel.closedWith).toBeUndefined();
  expect(client.stats.pending).toBe(0);
});

test('the id of a call that was given up is not used again before its terminal frame came', async () => {
  const { client, channel } = await connectedClient();
  const controller = new AbortController();
  const failures = [1, 2, 3].map(() => failureOf(client.request(bytesOf('x'), { signal: controller.signal })));
  const ids = channel.ofKind(KIND_REQUEST).map(({ id }) => id);
  expect(new Set(ids).size).toBe(3);
  controller.abort();
  await Promise.all(failures);
  const others = Array.from({ length: 10 }, () => client.request(bytesOf('y')));
  const later = channel.ofKind(KIND_REQUEST).slice(3);
  for (const { id } of later) expect(ids).not.toContain(id);
  channel.deliver(frame(KIND_ERROR, ids[1]!, encodeOwnError(new IpcError('ERR_IPC_CANCELLED', 'x'))));
  others.push(client.request(bytesOf('z')));
  expect(lastId(channel)).toBe(ids[1]);
  for (const { id, payload } of channel.ofKind(KIND_REQUEST).slice(3)) {
    channel.deliver(frame(KIND_RESPONSE, id, payload));
  }
  expect((await Promise.all(others)).map((answer) => textOf(answer))).toEqual([...Array(10).fill('y'), 'z']);
});

test('a call that is answered before all of it was sent stops being sent, and the server is told where', async () => {
  const { client, channel } = await connectedClient({}, { capacityBytes: 8184 });
  channel.room = 3;
  const large = failureOf(client.request(pattern(50_000)));
  const small = client.request(bytesOf('small'));
  const id = lastId(channel);
  channel.deliver(frame(KIND_ERROR, id, encodeOwnError(new IpcError('ERR_IPC_REFUSED', 'going'))));
  expect(await large).toMatchObject({ code: 'ERR_IPC_REFUSED' });
  channel.makeRoom();
  const after = channel.sent.slice(3);
  expect(after.map(({ kind }) => kind)).toEqual([KIND_CANCEL, KIND_REQUEST]);
  expect(after[0]!.id).toBe(id);
  channel.deliver(frame(KIND_RESPONSE, after[1]!.id, bytesOf('answer')));
  expect(textOf(await small)).toBe('answer');
});

for (const [end, payload] of [
  [KIND_END, undefined],
  [KIND_ERROR, encodeOwnError(new IpcError('ERR_IPC_CLOSED', 'x'))],
  [KIND_RESPONSE, u32(1)],
] as const) {
  test(`a frame of kind ${end} in the middle of an input item stops the item, and the server is told first`, async () => {
    const { client, channel } = await connectedClient({}, { capacityBytes: 8184 });
    const input = new Subject<Uint8Array>();
    // What the source does when it is unsubscribed must not come between the part and its end.
    const source = new Observable<Uint8Array>((subscriber) => {
      const subscription = input.subscribe(subscriber);
      return () => {
        subscription.unsubscribe();
        void client.request(bytesOf('from the teardown')).catch(() => undefined);
      };
    });
    const outcome = lastValueFrom(client.duplex$(bytesOf('x'), source).pipe(toArray())).catch(() => 'failed');
    const id = lastId(channel);
    channel.room = 2;
    input.next(pattern(50_000));
    expect(channel.ofKind(KIND_ITEM, id).length).toBe(2);
    channel.room = Number.POSITIVE_INFINITY;
    channel.deliver(frame(end, id, payload));
    await outcome;
    const after = channel.sent.slice(3);
    expect(after.map(({ kind }) => kind)).toEqual([KIND_CANCEL, KIND_REQUEST]);
    expect(after[0]!.id).toBe(id);
  });
}

test('an input that is cancelled in the middle of an item ends it with an error, and the answer goes on', async () => {
  const { client, channel } = await connectedClient({}, { capacityBytes: 8184 });
  const input = new Subject<Uint8Array>();
  const received: number[] = [];
  client.duplex$(bytesOf('x'), input).subscribe((item) => received.push(item.byteLength));
  const id = lastId(channel);
  channel.room = 2;
  input.next(pattern(50_000));
  channel.deliver(frame(KIND_CANCEL, id));
  expect(input.observed).toBe(false);
  channel.makeRoom();
  expect(channel.sent.slice(3).map(({ kind, id: its }) => [kind, its])).toEqual([[KIND_ERROR, id]]);
  channel.deliver(frame(KIND_ITEM, id, pattern(7)), frame(KIND_END, id));
  expect(received).toEqual([7]);
});

test('a response that is announced larger than this side takes fails its call, and is swallowed', async () => {
  const { client, channel } = await connectedClient({ maxMessageBytes: 1000 });
  const failure = failureOf(client.request(bytesOf('x')));
  const id = lastId(channel);
  channel.deliver(opening(KIND_RESPONSE, id, 1001));
  expect(await failure).toMatchObject({ code: 'ERR_IPC_MESSAGE_TOO_LARGE' });
  expect(client.stats.pending).toBe(1);
  channel.deliver(frame(KIND_RESPONSE, id, pattern(500), FLAG_MORE), frame(KIND_RESPONSE, id, pattern(501)));
  expect(client.stats.pending).toBe(0);
  expect(channel.closedWith).toBeUndefined();
});

test('a stream whose item is announced larger than this side takes is cancelled', async () => {
  const { client, channel } = await connectedClient({ maxMessageBytes: 1000 });
  const failure = failureOf(lastValueFrom(client.request$(bytesOf('x'))));
  const id = lastId(channel);
  channel.deliver(opening(KIND_ITEM, id, 1001));
  expect(await failure).toMatchObject({ code: 'ERR_IPC_MESSAGE_TOO_LARGE' });
  expect(channel.ofKind(KIND_CANCEL, id).length).toBe(1);
  channel.deliver(frame(KIND_ITEM, id, pattern(1001)), frame(KIND_END, id));
  expect(client.stats.pending).toBe(0);
});

test('control frames that overtook data act once', async () => {
  const { client, channel, states } = await connectedClient();
  const input = new Subject<Uint8Array>();
  client.duplex$(bytesOf('x'), input).subscribe({ error: () => undefined });
  const id = lastId(channel);
  channel.deliver(frame(KIND_CANCEL, id, undefined, FLAG_OVERTAKING));
  expect(input.observed).toBe(false);
  channel.deliver(frame(KIND_CANCEL, id, undefined, FLAG_IN_PLACE));
  channel.deliver(frame(KIND_CREDIT, id, u32(5), FLAG_IN_PLACE));
  channel.deliver(frame(KIND_GOAWAY, 0, undefined, FLAG_OVERTAKING));
  expect(states.at(-1)).toBe('draining');
  channel.deliver(frame(KIND_GOAWAY, 0, undefined, FLAG_IN_PLACE));
  expect(channel.ofKind(KIND_GOAWAY).length).toBe(1);
  expect(channel.closedWith).toBeUndefined();
});

test('frames after a goaway still count, until the last call has ended', async () => {
  const { client, channel, states } = await connectedClient();
  const answer = client.request(bytesOf('x'));
  const id = lastId(channel);
  const pushed = client.receive();
  channel.deliver(
    frame(KIND_GOAWAY, 0),
    frame(KIND_ONE_WAY, 0, bytesOf('push')),
    frame(KIND_RESPONSE, id, bytesOf('answer')),
  );
  expect(textOf(await answer)).toBe('answer');
  expect(textOf((await pushed)!)).toBe('push');
  expect(channel.closedWith).toBe('closed');
  expect(states.at(-1)).toBe('closed');
});

test('credit of any size for anything is borne', async () => {
  const { client, channel } = await connectedClient({}, { hello: { streamWindowBytes: 10 } });
  const input = new Subject<Uint8Array>();
  client.duplex$(bytesOf('x'), input).subscribe({ error: () => undefined });
  const id = lastId(channel);
  for (let i = 0; i < 5; i++) input.next(pattern(10));
  expect(channel.ofKind(KIND_ITEM, id).length).toBe(1);
  for (const target of [0, id + 1, 2 ** 28 - 1]) channel.deliver(frame(KIND_CREDIT, target, u32(0xffff_ffff)));
  expect(channel.ofKind(KIND_ITEM, id).length).toBe(1);
  for (let i = 0; i < 3; i++) channel.deliver(frame(KIND_CREDIT, id, u32(0xffff_ffff)));
  expect(channel.ofKind(KIND_ITEM, id).length).toBe(5);
  expect(channel.closedWith).toBeUndefined();
});

test('a borrowed reply is over when its connection is', async () => {
  const { client, channel } = await connectedClient();
  const exchange = client.exchange(bytesOf('x'));
  const response = frame(KIND_RESPONSE, lastId(channel), pattern(50));
  channel.deliver(response);
  const reply = await exchange;
  expect(sameBytes(reply.span, pattern(50))).toBe(true);
  expect(response.releases).toBe(0);
  channel.breakOff();
  expect(() => reply.span).toThrow(expect.objectContaining({ name: 'SpanReleasedError' }));
  reply.release();
  expect(response.releases).toBe(1);
});

test('an error frame that says nothing readable is a failure of the other side', async () => {
  const { client, channel } = await connectedClient();
  const failure = failureOf(client.request(bytesOf('x')));
  channel.deliver(frame(KIND_ERROR, lastId(channel), pattern(30)));
  expect(await failure).toMatchObject({ code: 'ERR_IPC_REMOTE' });
  expect(channel.closedWith).toBeUndefined();
});

test('streams that nobody ended fail when the connection does, after what had come', async () => {
  const { client, channel } = await connectedClient();
  const received: number[] = [];
  const failure = failureOf(client.request$(bytesOf('x')).forEach((item) => received.push(item.byteLength)));
  const never = failureOf(lastValueFrom(client.duplex$(bytesOf('y'), NEVER)));
  const [first] = channel.ofKind(KIND_STREAM_REQUEST);
  channel.deliver(frame(KIND_ITEM, first!.id, pattern(3)));
  channel.breakOff('gone', new IpcError('ERR_IPC_PEER_GONE', 'broken'));
  expect(await failure).toMatchObject({ code: 'ERR_IPC_PEER_GONE', message: 'broken' });
  expect(await never).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(received).toEqual([3]);
});
