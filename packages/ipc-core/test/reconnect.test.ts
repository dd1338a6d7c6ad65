import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { IpcError, PeerGoneError } from '../src/errors.ts';
import { KIND_GOAWAY, KIND_ONE_WAY, KIND_REQUEST, KIND_RESPONSE } from '../src/frame.ts';
import { failureOf } from '../src/testing/eventually.ts';
import { bytesOf, pattern, textOf } from '../src/testing/payloads.ts';
import { ScriptedFrame } from './support/scripted-channel.ts';
import { connectedClient, scriptedClient } from './support/scripted-client.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const gone = (): PeerGoneError => new PeerGoneError('nobody there');

test('a lost connection is made again after each delay of the policy, the last one repeated', async () => {
  const { client, attempts, states, channel } = await connectedClient({ reconnect: { delaysMs: [10, 100, 1000] } });
  channel.breakOff('gone', gone());
  expect(states).toEqual(['idle', 'connecting', 'connected', 'reconnecting']);
  for (const [i, delayMs] of [10, 100, 1000, 1000, 1000].entries()) {
    await vi.advanceTimersByTimeAsync(delayMs - 1);
    expect(attempts.length).toBe(1 + i);
    await vi.advanceTimersByTimeAsync(1);
    expect(attempts.length).toBe(2 + i);
    await attempts.at(-1)!.reject(gone());
  }
  await vi.advanceTimersByTimeAsync(1000);
  await attempts.at(-1)!.accept();
  expect(states.at(-1)).toBe('connected');
  expect(client.stats.reconnects).toBe(1);
});

test('after a success the delays begin anew', async () => {
  const { attempts, channel } = await connectedClient({ reconnect: { delaysMs: [10, 500] } });
  channel.breakOff();
  await vi.advanceTimersByTimeAsync(10);
  await attempts[1]!.reject(gone());
  await vi.advanceTimersByTimeAsync(500);
  const second = await attempts[2]!.accept();
  second.breakOff();
  await vi.advanceTimersByTimeAsync(10);
  expect(attempts.length).toBe(4);
});

test('what was never sent waits for the next connection, in order; what was sent fails and is not repeated', async () => {
  const { client, attempts, channel } = await connectedClient({ reconnect: { delaysMs: [10] } });
  channel.room = 2;
  const outcome = (call: Promise<Uint8Array>): Promise<string> =>
    call.then(
      (answer) => textOf(answer),
      (error: IpcError) => error.code,
    );
  const calls = ['a', 'b', 'c', 'd'].map((text) => outcome(client.request(bytesOf(text))));
  const sent = client.send(bytesOf('e'));
  expect(channel.ofKind(KIND_REQUEST).map(({ payload }) => textOf(payload))).toEqual(['a', 'b']);
  channel.breakOff('gone', gone());
  expect(await Promise.all(calls.slice(0, 2))).toEqual(['ERR_IPC_PEER_GONE', 'ERR_IPC_PEER_GONE']);
  const late = outcome(client.request(bytesOf('f')));
  await vi.advanceTimersByTimeAsync(10);
  const second = await attempts[1]!.accept();
  await sent;
  expect(second.sent.map(({ payload }) => textOf(payload))).toEqual(['c', 'd', 'e', 'f']);
  for (const { id, kind, payload } of second.sent) {
    if (kind === KIND_REQUEST) second.deliver(new ScriptedFrame(KIND_RESPONSE, id, payload));
  }
  expect(await Promise.all([...calls.slice(2), late])).toEqual(['c', 'd', 'f']);
});

test('a message of which a part was sent fails, and is not sent again', async () => {
  const { client, attempts, channel } = await connectedClient(
    { reconnect: { delaysMs: [10] } },
    { capacityBytes: 8184 },
  );
  channel.room = 2;
  const half = failureOf(client.send(pattern(10_000)));
  const behind = client.send(bytesOf('behind'));
  channel.breakOff('gone', gone());
  expect(await half).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  await vi.advanceTimersByTimeAsync(10);
  const second = await attempts[1]!.accept();
  await behind;
  expect(second.ofKind(KIND_ONE_WAY).map(({ payload }) => textOf(payload))).toEqual(['behind']);
  second.room = 2;
  const halfRequest = failureOf(client.request(pattern(10_000)));
  second.breakOff('gone', gone());
  expect(await halfRequest).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  await vi.advanceTimersByTimeAsync(10);
  expect((await attempts[2]!.accept()).sent).toEqual([]);
});

test('a call that waits for the connection waits no longer than its timeout', async () => {
  const { client, attempts, channel } = await connectedClient({ reconnect: { delaysMs: [1000] } });
  channel.breakOff();
  const late = failureOf(client.request(bytesOf('late'), { timeoutMs: 500 }));
  const controller = new AbortController();
  const aborted = failureOf(client.request(bytesOf('aborted'), { signal: controller.signal }));
  controller.abort(new Error('enough'));
  expect(await aborted).toHaveProperty('message', 'enough');
  await vi.advanceTimersByTimeAsync(500);
  expect(await late).toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
  await vi.advanceTimersByTimeAsync(500);
  const second = await attempts[1]!.accept();
  expect(second.sent).toEqual([]);
  expect(client.stats.pending).toBe(0);
});

test('trying again ends where it cannot help', async () => {
  for (const code of ['ERR_IPC_VERSION', 'ERR_IPC_UNAUTHORIZED', 'ERR_IPC_UNSUPPORTED', 'ERR_IPC_PROTOCOL'] as const) {
    const { client, attempts, states, channel } = await connectedClient({ reconnect: { delaysMs: [1] } });
    channel.breakOff();
    const waiting = failureOf(client.request(bytesOf('x')));
    await vi.advanceTimersByTimeAsync(1);
    await attempts[1]!.reject(new IpcError(code, 'no use'));
    expect(await waiting).toMatchObject({ code });
    expect(states.at(-1)).toBe('closed');
    await vi.advanceTimersByTimeAsync(100_000);
    expect(attempts.length).toBe(2);
    await expect(client.connect()).rejects.toMatchObject({ code });
  }
});

test('it goes on where it can help', async () => {
  for (const code of ['ERR_IPC_PEER_GONE', 'ERR_IPC_REFUSED', 'ERR_IPC_OVERLOADED', 'ERR_IPC_TIMEOUT'] as const) {
    const { attempts, channel } = await connectedClient({ reconnect: { delaysMs: [1] } });
    channel.breakOff();
    await vi.advanceTimersByTimeAsync(1);
    await attempts[1]!.reject(new IpcError(code, 'later'));
    await vi.advanceTimersByTimeAsync(1);
    expect(attempts.length).toBe(3);
  }
});

test('connect() while it reconnects waits for that connection, and opens no other', async () => {
  const { client, attempts, channel } = await connectedClient({ reconnect: { delaysMs: [50] } });
  channel.breakOff();
  let connected = false;
  const connecting = client.connect().then(() => (connected = true));
  await vi.advanceTimersByTimeAsync(49);
  expect(attempts.length).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(connected).toBe(false);
  await attempts[1]!.accept();
  await connecting;
  await vi.advanceTimersByTimeAsync(1000);
  expect(attempts.length).toBe(2);
});

test('close() while it reconnects ends the attempt and all that waits', async () => {
  const { client, attempts, states, channel } = await connectedClient({ reconnect: { delaysMs: [1] } });
  channel.breakOff();
  const waiting = failureOf(client.request(bytesOf('x')));
  await vi.advanceTimersByTimeAsync(1);
  const connecting = failureOf(client.connect());
  await client.close();
  expect(attempts[1]!.signal.aborted).toBe(true);
  expect(await waiting).toMatchObject({ code: 'ERR_IPC_CLOSED' });
  expect(await connecting).toMatchObject({ code: 'ERR_IPC_CLOSED' });
  // A channel that comes all the same is closed, and nobody hears of it.
  const late = await attempts[1]!.accept();
  expect(late.closedWith).toBe('closed');
  expect(states.at(-1)).toBe('closed');
});

test('after a goaway it connects again at once, while the old connection finishes', async () => {
  const { client, attempts, states, channel } = await connectedClient({ reconnect: { delaysMs: [1000] } });
  const running = client.request(bytesOf('running'));
  const [request] = channel.ofKind(KIND_REQUEST);
  channel.room = 0;
  const waiting = client.request(bytesOf('waiting'));
  channel.deliver(new ScriptedFrame(KIND_GOAWAY, 0));
  expect(channel.ofKind(KIND_GOAWAY).length).toBe(1);
  expect(states.at(-1)).toBe('reconnecting');
  await vi.advanceTimersByTimeAsync(0);
  const second = await attempts[1]!.accept();
  const [moved] = second.ofKind(KIND_REQUEST);
  expect(textOf(moved!.payload)).toBe('waiting');
  second.deliver(new ScriptedFrame(KIND_RESPONSE, moved!.id, bytesOf('new')));
  expect(textOf(await waiting)).toBe('new');
  expect(channel.closedWith).toBeUndefined();
  channel.deliver(new ScriptedFrame(KIND_RESPONSE, request!.id, bytesOf('old')));
  expect(textOf(await running)).toBe('old');
  expect(channel.closedWith).toBe('closed');
  expect(states.at(-1)).toBe('connected');
});

test('an old connection that breaks after its goaway fails its calls only', async () => {
  const { client, attempts, states, channel } = await connectedClient({ reconnect: { delaysMs: [1] } });
  const running = failureOf(client.request(bytesOf('running')));
  channel.deliver(new ScriptedFrame(KIND_GOAWAY, 0));
  await vi.advanceTimersByTimeAsync(0);
  await attempts[1]!.accept();
  channel.breakOff('gone', gone());
  expect(await running).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  await vi.advanceTimersByTimeAsync(1000);
  expect(attempts.length).toBe(2);
  expect(states.at(-1)).toBe('connected');
});

test('without a policy a lost connection is the end', async () => {
  const { client, attempts, states, channel } = await connectedClient();
  const failure = failureOf(client.request(bytesOf('x')));
  channel.breakOff('gone', gone());
  expect(await failure).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(states.at(-1)).toBe('closed');
  await vi.advanceTimersByTimeAsync(100_000);
  expect(attempts.length).toBe(1);
});

test('a first connect() that fails is told, and may be repeated', async () => {
  const { client, attempts, states } = scriptedClient({ reconnect: { delaysMs: [1] } });
  const connecting = failureOf(client.connect());
  const waiting = failureOf(client.request(bytesOf('x')));
  await attempts[0]!.reject(gone());
  expect(await connecting).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(await waiting).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(states).toEqual(['idle', 'connecting', 'idle']);
  await vi.advanceTimersByTimeAsync(1000);
  expect(attempts.length).toBe(1);
  const again = client.connect();
  await attempts[1]!.accept();
  await again;
  expect(states.at(-1)).toBe('connected');
});

test('a call from inside the announcement of the connection goes behind those who waited', async () => {
  const { client, attempts } = scriptedClient();
  client.state$.subscribe((state) => {
    if (state === 'connected') void client.request(bytesOf('last')).catch(() => undefined);
  });
  const connecting = client.connect();
  for (const text of ['a', 'b']) void client.request(bytesOf(text)).catch(() => undefined);
  const channel = await attempts[0]!.accept();
  await connecting;
  expect(channel.sent.map(({ payload }) => textOf(payload))).toEqual(['a', 'b', 'last']);
});

test('unref() holds for every connection to come, and ref() as well', async () => {
  const { client, attempts, channel } = await connectedClient({ reconnect: { delaysMs: [1] } });
  expect(channel.referenced).toBe(true);
  client.unref();
  expect(channel.referenced).toBe(false);
  channel.breakOff();
  await vi.advanceTimersByTimeAsync(1);
  const second = await attempts[1]!.accept();
  expect(second.referenced).toBe(false);
  client.ref();
  expect(second.referenced).toBe(true);
});

test('a server with a window too small for an error is not talked to', async () => {
  const { client, attempts, states } = scriptedClient();
  const connecting = failureOf(client.connect());
  const channel = await attempts[0]!.accept({ capacityBytes: 100 });
  expect(await connecting).toMatchObject({ code: 'ERR_IPC_PROTOCOL' });
  expect(channel.closedWith).toBe('protocol');
  expect(states.at(-1)).toBe('idle');
});
