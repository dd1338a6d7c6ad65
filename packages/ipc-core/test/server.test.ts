import { from, map, Observable, Subject } from 'rxjs';
import { expect, test } from 'vitest';
import type { IpcRequest } from '../src/contract.ts';
import {
  FLAG_MORE,
  KIND_CANCEL,
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
import { createServer } from '../src/server.ts';
import { bytesOf, pattern, readU32, textOf, u32 } from '../src/testing/payloads.ts';
import { ScriptedFrame } from './support/scripted-channel.ts';
import { ScriptedListener, scriptedServer } from './support/scripted-server.ts';

const frame = (kind: number, id: number, payload?: Uint8Array, flags?: number): ScriptedFrame =>
  new ScriptedFrame(kind, id, payload, flags);

test('a client with a window too small for an error is turned away, and not announced', () => {
  const { server, client, events } = scriptedServer();
  expect(client({ capacityBytes: 100 }).closedWith).toBe('protocol');
  expect(client({ capacityBytes: -8 }).closedWith).toBe('protocol');
  expect(client({ framing: 'plain', capacityBytes: 100 }).closedWith).toBeUndefined();
  expect(events.map(({ type }) => type)).toEqual(['connected']);
  expect(server.stats.clients).toBe(1);
});

test('a listener that breaks closes the server with its error', async () => {
  const { server, listener, client } = scriptedServer();
  await server.listen();
  const channel = client();
  const error = new Error('no more sockets');
  listener.onError?.(error);
  await expect(server.closed).rejects.toBe(error);
  expect(channel.ofKind(KIND_GOAWAY).length).toBe(1);
  expect(channel.closedWith).toBe('shutdown');
  expect(listener.closed).toBe(true);
});

test('a takeover of the address is a shutdown', async () => {
  const { server, listener, client } = scriptedServer();
  await server.listen();
  const requests: IpcRequest[] = [];
  server.requests$.subscribe((request) => requests.push(request));
  const channel = client();
  channel.deliver(frame(KIND_REQUEST, 1, u32(1)));
  listener.onTakeover?.();
  requests[0]!.respond(u32(2));
  channel.deliver(frame(KIND_GOAWAY, 0));
  await server.closed;
  expect(channel.ofKind(KIND_RESPONSE, 1).length).toBe(1);
});

test('whoever connects in the moment of a shutdown is turned away', async () => {
  const { server, listener, client } = scriptedServer();
  await server.listen();
  const first = client();
  server.requestShutdown();
  expect(listener.admit?.()).toMatchObject({ code: 'ERR_IPC_REFUSED' });
  expect(client().closedWith).toBe('shutdown');
  first.breakOff('closed');
  await server.closed;
});

test('a listen() that fails leaves the server as it was', async () => {
  class Failing extends ScriptedListener {
    fails = true;
    override listen(): Promise<void> {
      return this.fails ? Promise.reject(new Error('in use')) : super.listen();
    }
  }
  const listener = new Failing();
  const server = createServer(() => listener);
  await expect(server.listen()).rejects.toThrow('in use');
  listener.fails = false;
  await server.listen();
  expect(listener.listening).toBe(true);
  await server.close();
});

test('a request that is half received at shutdown is refused, and its memory is free for the others', async () => {
  const { server, client } = scriptedServer({ maxMessageBytes: 1000, maxReassemblyBytes: 1000 });
  const requests: IpcRequest[] = [];
  server.requests$.subscribe((request) => requests.push(request));
  const running = client();
  running.deliver(frame(KIND_REQUEST, 1, u32(1)));
  const total = new Uint8Array(8);
  total.set(u32(1000));
  const half = client();
  const waits = client();
  for (const channel of [half, waits]) channel.deliver(frame(KIND_REQUEST, 2, total, FLAG_MORE));
  server.requestShutdown();
  const rest = [half, waits].map((channel) => {
    const last = frame(KIND_REQUEST, 2, pattern(1000));
    channel.deliver(last, frame(KIND_GOAWAY, 0));
    return last;
  });
  for (const channel of [half, waits]) {
    expect(channel.ofKind(KIND_ERROR, 2).length).toBe(1);
    expect(textOf(channel.ofKind(KIND_ERROR, 2)[0]!.payload)).toContain('ERR_IPC_REFUSED');
  }
  expect(rest.every(({ releases }) => releases === 1)).toBe(true);
  expect(server.stats.refused).toBe(2);
  requests[0]!.respond(u32(1));
  running.deliver(frame(KIND_GOAWAY, 0));
  await server.closed;
});

test('a cancelled request whose answer is made of its input is ended once, and the books are right', () => {
  const { server, client } = scriptedServer();
  server.respond((_id, _request, info) => {
    info.release();
    return info.input$?.pipe(map((item) => item));
  });
  const channel = client();
  for (let i = 0; i < 3; i++) {
    channel.deliver(frame(KIND_DUPLEX_REQUEST, 1), frame(KIND_ITEM, 1, u32(i)));
    expect(server.stats.openRequests).toBe(1);
    channel.deliver(frame(KIND_CANCEL, 1));
    expect(channel.ofKind(KIND_ERROR, 1).length).toBe(i + 1);
    expect(server.stats.openRequests).toBe(0);
  }
  expect(channel.ofKind(KIND_CANCEL).length).toBe(0);
});

test('nothing comes between a part of an item and the error that ends it, not even a delivery that this allows', () => {
  const { server, client } = scriptedServer({ maxInFlight: 1 });
  const source = new Subject<Uint8Array>();
  server.respond((_id, request) => (request.byteLength === 4 ? source : request));
  const channel = client({ capacityBytes: 8184 });
  channel.deliver(frame(KIND_STREAM_REQUEST, 1, u32(1)), frame(KIND_REQUEST, 2, bytesOf('waits for its turn')));
  channel.room = 2;
  source.next(pattern(50_000));
  expect(channel.ofKind(KIND_ITEM, 1).length).toBe(2);
  channel.room = Number.POSITIVE_INFINITY;
  channel.deliver(frame(KIND_CANCEL, 1));
  expect(channel.sent.slice(2).map(({ kind, id }) => [kind, id])).toEqual([
    [KIND_ERROR, 1],
    [KIND_RESPONSE, 2],
  ]);
});

test('the error that ends a part of an item, or of an answer, goes before all that waits', () => {
  const { server, client } = scriptedServer();
  const source = new Subject<Uint8Array>();
  server.respond((_id, request) => (request.byteLength === 0 ? source : pattern(readU32(request))));
  const channel = client({ capacityBytes: 8184 });
  channel.deliver(frame(KIND_STREAM_REQUEST, 1));
  channel.room = 2;
  source.next(pattern(50_000));
  channel.deliver(frame(KIND_REQUEST, 2, u32(50_000)), frame(KIND_REQUEST, 3, u32(10)));
  channel.deliver(frame(KIND_CANCEL, 1));
  channel.makeRoom(3);
  expect(channel.sent.slice(2).map(({ kind, id }) => [kind, id])).toEqual([
    [KIND_ERROR, 1],
    [KIND_RESPONSE, 2],
    [KIND_RESPONSE, 2],
  ]);
  channel.deliver(frame(KIND_CANCEL, 2));
  channel.makeRoom();
  expect(channel.sent.slice(5).map(({ kind, id }) => [kind, id])).toEqual([
    [KIND_ERROR, 2],
    [KIND_RESPONSE, 3],
  ]);
});

test('what a source does when it is stopped cannot come between, either', () => {
  const { server, client, events } = scriptedServer();
  const source = new Observable<Uint8Array>((subscriber) => {
    queueMicrotask(() => subscriber.next(pattern(50_000)));
    return () => {
      server.send(events[0]!.clientId, bytesOf('stopped'));
    };
  });
  server.respond(() => source);
  const channel = client({ capacityBytes: 8184 });
  channel.deliver(frame(KIND_STREAM_REQUEST, 1));
  channel.room = 2;
  return Promise.resolve().then(() => {
    expect(channel.ofKind(KIND_ITEM, 1).length).toBe(2);
    channel.room = Number.POSITIVE_INFINITY;
    channel.deliver(frame(KIND_CANCEL, 1));
    expect(channel.sent.slice(2).map(({ kind }) => kind)).toEqual([KIND_ERROR, KIND_ONE_WAY]);
  });
});

test('a burst that waited is delivered in portions, so that the event loop gets its turns', async () => {
  const { server, client } = scriptedServer({ maxInFlight: 10_000 });
  const channel = client();
  const frames = Array.from({ length: 3000 }, (_, i) => frame(KIND_REQUEST, i + 1, u32(i)));
  channel.deliver(...frames);
  const seen: number[] = [];
  server.requests$.subscribe((request) => {
    seen.push(readU32(request.span));
    request.respond(request.span);
  });
  expect(seen.length).toBe(1024);
  while (seen.length < 3000) await new Promise((resolve) => setImmediate(resolve));
  expect(seen).toEqual([...Array(3000).keys()]);
});

test('the reports of accept() do not grow with the clients of a long life', async () => {
  const { server, client } = scriptedServer({ maxClients: 4 });
  for (let i = 0; i < 1000; i++) client().breakOff('closed');
  const last = client();
  const reported: number[] = [];
  for (let id = await server.accept(0); id !== undefined; id = await server.accept(0)) reported.push(id);
  expect(reported.length).toBeLessThanOrEqual(9);
  expect(reported.at(-1)).toBe(1001);
  last.breakOff('closed');
});

test('streams of one client take turns with its answers when there is no room', () => {
  const { server, client } = scriptedServer();
  server.respond((_id, request) =>
    request.byteLength === 4 ? from(Array.from({ length: 50 }, (_, i) => u32(i))) : request,
  );
  const channel = client();
  channel.room = 0;
  channel.deliver(
    frame(KIND_STREAM_REQUEST, 1, u32(1)),
    frame(KIND_STREAM_REQUEST, 2, u32(2)),
    frame(KIND_REQUEST, 3, bytesOf('small')),
  );
  channel.makeRoom(6);
  const first = channel.sent.map(({ id }) => id);
  expect(new Set(first)).toEqual(new Set([1, 2, 3]));
  channel.makeRoom();
  for (const id of [1, 2]) {
    expect(channel.ofKind(KIND_ITEM, id).map(({ payload }) => readU32(payload))).toEqual([...Array(50).keys()]);
    expect(channel.ofKind(KIND_END, id).length).toBe(1);
  }
});

test('a handler that throws a revoked proxy, in a stream as well, costs its request only', async () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const { server, client } = scriptedServer();
  server.respond((_id, request) => {
    if (request.byteLength === 4) throw proxy;
    return new Observable<Uint8Array>((subscriber) => subscriber.next(proxy as Uint8Array));
  });
  const channel = client();
  channel.deliver(frame(KIND_REQUEST, 1, u32(1)), frame(KIND_STREAM_REQUEST, 2, bytesOf('stream')));
  expect(channel.ofKind(KIND_ERROR).map(({ id }) => id)).toEqual([1, 2]);
  expect(server.stats.clients).toBe(1);
});

test('a client that takes no pushes gets none, and a shutdown does not wait for its goaway', async () => {
  const { server, client, events } = scriptedServer();
  const requests: IpcRequest[] = [];
  server.requests$.subscribe((request) => requests.push(request));
  const channel = client({ hello: { pushes: false, streams: false } });
  expect(server.send(events[0]!.clientId, u32(1))).toBe(false);
  expect(server.broadcast(u32(1))).toBe(0);
  expect(server.stats.droppedPushes).toBe(1);
  channel.deliver(frame(KIND_REQUEST, 1, u32(1)));
  server.requestShutdown();
  expect(channel.closedWith).toBeUndefined();
  requests[0]!.respond(u32(2));
  await server.closed;
  expect(channel.ofKind(KIND_RESPONSE, 1).length).toBe(1);
  expect(channel.closedWith).toBe('shutdown');
});

test('unref() holds for every client to come, and ref() as well', () => {
  const { server, client } = scriptedServer();
  const first = client();
  server.unref();
  expect(first.referenced).toBe(false);
  const second = client();
  expect(second.referenced).toBe(false);
  server.ref();
  expect([first.referenced, second.referenced]).toEqual([true, true]);
});

test('a request that a transport hands over by itself is delivered at once, unless anything of its client is open or the server is leaving', () => {
  const { server, client } = scriptedServer();
  const channel = client();
  const other = client();
  expect(channel.takeRequest?.(frame(KIND_REQUEST, 1))).toBe(false);
  const requests: IpcRequest[] = [];
  let reentered: boolean | undefined;
  server.requests$.subscribe((request) => {
    requests.push(request);
    reentered ??= channel.takeRequest?.(frame(KIND_REQUEST, 9));
  });
  const first = frame(KIND_REQUEST, 1, bytesOf('first'));
  expect(channel.takeRequest?.(first)).toBe(true);
  expect(textOf(requests[0]!.span)).toBe('first');
  expect(reentered).toBe(false);
  expect(channel.takeRequest?.(frame(KIND_REQUEST, 2))).toBe(false);
  expect(other.takeRequest?.(frame(KIND_REQUEST, 1))).toBe(true);
  requests[0]!.respond(u32(1));
  expect(first.releases).toBe(1);
  expect(channel.takeRequest?.(frame(KIND_REQUEST, 1))).toBe(true);
  // An answer that waits for room is before the answer of whatever comes.
  channel.room = 0;
  requests[2]!.respond(u32(1));
  expect(channel.takeRequest?.(frame(KIND_REQUEST, 1))).toBe(false);
  channel.makeRoom();
  // The first fragment of something.
  channel.deliver(frame(KIND_REQUEST, 2, new Uint8Array([8, 0, 0, 0, 0, 0, 0, 0]), FLAG_MORE));
  expect(channel.takeRequest?.(frame(KIND_REQUEST, 1))).toBe(false);
  requests[1]!.respond(u32(1));
  server.requestShutdown();
  expect(other.takeRequest?.(frame(KIND_REQUEST, 1))).toBe(false);
  expect(requests.map(({ requestId }) => requestId)).toEqual([1, 2, 3]);
});

test('an answer that is given while its request is delivered counts, releases and ends it once, whatever happened to it before', async () => {
  const { server, client } = scriptedServer();
  const channel = client();
  const before: Array<(request: IpcRequest) => void> = [
    () => undefined,
    (request) => request.release(),
    (request) => void request.signal,
    (request) => request.respond(u32(0)),
  ];
  const answered: boolean[] = [];
  server.requests$.subscribe((request) => {
    before[request.requestId - 1]!(request);
    server.responses.next({ clientId: request.clientId, requestId: request.requestId, data: u32(request.requestId) });
    answered.push(request.respond(u32(99)));
  });
  const frames = before.map((_, i) => frame(KIND_REQUEST, i + 1, u32(i)));
  channel.deliver(...frames);
  expect(answered).toEqual([false, false, false, false]);
  expect(channel.sent.map(({ kind, id, payload }) => [kind, id, readU32(payload)])).toEqual([
    [KIND_RESPONSE, 1, 1],
    [KIND_RESPONSE, 2, 2],
    [KIND_RESPONSE, 3, 3],
    [KIND_RESPONSE, 4, 0],
  ]);
  expect(frames.map(({ releases }) => releases)).toEqual([1, 1, 1, 1]);
  // One second answer each, and two of the last.
  expect(server.stats).toMatchObject({ requests: 4, responses: 4, droppedAnswers: 5, openRequests: 0, bytesOut: 16 });
  await server.close();
});
