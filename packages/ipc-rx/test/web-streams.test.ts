import { fromReadableStream, serve, toDuplexStream, toReadableStream, toWritableStream } from '@spanwire/ipc-rx';
import { ReadableStream, TransformStream, type WritableStream } from 'node:stream/web';
import { from, lastValueFrom, map, Observable, Subject, take, toArray } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Log } from './support/log.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

/** A Web stream that counts what was pulled of it, and says why it was cancelled. */
function counted(itemBytes: number): {
  stream: ReadableStream<Uint8Array>;
  pulled: () => number;
  cancelled: Log<true>;
} {
  let pulled = 0;
  const cancelled = new Log<true>();
  const stream = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => controller.enqueue(new Uint8Array(itemBytes).fill(pulled++ & 255)),
      cancel: () => cancelled.add(true),
    },
    { highWaterMark: 0 },
  );
  return { stream, pulled: () => pulled, cancelled };
}

/** A source, and when it was subscribed to. */
function watched(): {
  readonly source$: Subject<Uint8Array>;
  readonly started: { readonly source$: Observable<Uint8Array>; readonly log: Log<true> };
} {
  const source$ = new Subject<Uint8Array>();
  const log = new Log<true>();
  const startedSource$ = new Observable<Uint8Array>((subscriber) => {
    const subscription = source$.subscribe(subscriber);
    log.add(true);
    return subscription;
  });
  return { source$, started: { source$: startedSource$, log } };
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const items: string[] = [];
  for await (const item of stream) items.push(text(item));
  return items;
}

describe('Web streams, without a connection', () => {
  it('have the types of their items', () => {
    expectTypeOf(toReadableStream(from(['a']))).toEqualTypeOf<ReadableStream<string>>();
    expectTypeOf(toWritableStream).returns.toEqualTypeOf<WritableStream<Uint8Array>>();
  });

  it('an Observable becomes a stream, and its error the error of the stream', async () => {
    expect(await collect(toReadableStream(from(['a', 'b']).pipe(map(bytes))))).toEqual(['a', 'b']);
    const { source$, started } = watched();
    const first = toReadableStream(started.source$).getReader().read();
    await started.log.reaches(1);
    source$.error(new Error('broken'));
    await expect(first).rejects.toThrow('broken');
  });

  it('an Observable that gets too far ahead of its reader fails instead of filling the memory', async () => {
    const { source$, started } = watched();
    const reader = toReadableStream(started.source$).getReader();
    const first = reader.read();
    await started.log.reaches(1);
    for (let i = 0; i < 1026; i++) source$.next(Uint8Array.of(i & 255));
    expect(source$.observed).toBe(false);
    expect((await first).value).toEqual(Uint8Array.of(0));
    for (let i = 1; i <= 1024; i++) expect((await reader.read()).value).toEqual(Uint8Array.of(i & 255));
    await expect(reader.read()).rejects.toMatchObject({ code: 'ERR_IPC_OVERLOADED' });
  });

  it('a stream becomes a source, which is cancelled when it is left', async () => {
    const { stream, pulled, cancelled } = counted(1);
    const items = await lastValueFrom(fromReadableStream(stream).pipe(take(3), toArray()));
    expect(items.map((item) => item[0])).toEqual([0, 1, 2]);
    await cancelled.reaches(1);
    expect(pulled()).toBeLessThanOrEqual(4);
  });

  it('cancelling a stream leaves its source', async () => {
    const { source$, started } = watched();
    const reader = toReadableStream(started.source$).getReader();
    void reader.read();
    await started.log.reaches(1);
    expect(source$.observed).toBe(true);
    await reader.cancel();
    expect(source$.observed).toBe(false);
  });

  it('refuses what is no source', () => {
    expect(() => toReadableStream('text' as never)).toThrow(TypeError);
  });
});

describe.each(transports)('Web streams over $name', ({ open }) => {
  it('a slow reader slows a stream in the other process down', async () => {
    await using scene = await open();
    const client = await scene.connect({ streamWindowBytes: 8192 });
    const { stream, pulled, cancelled } = counted(1024);
    serve(scene.server, (_clientId, request) => (text(request) === 'ping' ? request : fromReadableStream(stream)));
    const reader = toReadableStream(client.request$(bytes('items'))).getReader();
    for (let i = 0; i < 20; i++) expect((await reader.read()).value?.[0]).toBe(i);
    for (let i = 0; i < 5; i++) await client.request(bytes('ping'));
    expect(pulled()).toBeLessThan(20 + 12);
    await reader.cancel();
    await cancelled.reaches(1);
  });

  it('a stream is written one-way at the pace of the server', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const client = await scene.connect();
    const writer = toWritableStream(client).getWriter();
    let written = 0;
    const writing = (async () => {
      for (let i = 0; i < 100; i++) {
        await writer.write(bytes(String(i).padEnd(1000)));
        written++;
      }
      await writer.close();
    })();
    // The window of 8 KiB is full after 8, since nobody reads.
    await scene.connect();
    expect(written).toBeLessThan(10);
    const received = new Log<number>();
    scene.server.messages$.subscribe(({ data }) => received.add(Number(text(data))));
    await writing;
    await received.reaches(100);
    expect(received.entries).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it('a pair of streams goes through a handler, both at the pace of the reader', async () => {
    await using scene = await open({ streamWindowBytes: 8192 });
    const client = await scene.connect({ streamWindowBytes: 8192 });
    serve(scene.server, (_clientId, request, { input$ }) => {
      if (input$ === undefined) return request;
      const upper = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => controller.enqueue(bytes(text(chunk).toUpperCase())),
      });
      return toReadableStream(input$).pipeThrough(upper);
    });
    const words = from(['a', 'b', 'c']).pipe(map(bytes));
    expect(await collect(toReadableStream(words).pipeThrough(toDuplexStream(client, bytes('upper'))))).toEqual([
      'A',
      'B',
      'C',
    ]);
    const source = counted(1024);
    const reader = source.stream.pipeThrough(toDuplexStream(client, bytes('upper'))).getReader();
    for (let i = 0; i < 10; i++) await reader.read();
    for (let i = 0; i < 5; i++) await client.request(bytes('ping'));
    // Two windows of 8 items, and what the streams between them hold.
    expect(source.pulled()).toBeLessThan(10 + 30);
    await reader.cancel();
    await source.cancelled.reaches(1);
  });

  it('aborting what goes up errors the input of the handler', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const failed = new Log<unknown>();
    serve(scene.server, (_clientId, _request, { input$ }) => {
      if (input$ === undefined) return undefined;
      return (async function* () {
        try {
          for await (const item of input$) yield item;
        } catch (error) {
          failed.add(error);
        }
      })();
    });
    const { readable, writable } = toDuplexStream(client, bytes('echo'));
    const [reader, writer] = [readable.getReader(), writable.getWriter()];
    const first = reader.read();
    await writer.ready;
    void writer.write(bytes('one'));
    expect(text((await first).value ?? bytes(''))).toBe('one');
    await writer.abort(new Error('changed my mind'));
    await failed.reaches(1);
    expect(failed.entries[0]).toMatchObject({ message: 'changed my mind' });
    expect((await reader.read()).done).toBe(true);
  });

  it('writes fail once the handler has left its input', async () => {
    await using scene = await open();
    const client = await scene.connect();
    serve(scene.server, (_clientId, _request, { input$ }) => input$?.pipe(take(1)));
    const { readable, writable } = toDuplexStream(client, bytes('one'));
    const writer = writable.getWriter();
    writer.closed.catch(() => undefined);
    const items = collect(readable);
    const writing = (async () => {
      for (;;) await writer.write(bytes('item'));
    })();
    await expect(writing).rejects.toMatchObject({ code: 'ERR_IPC_CANCELLED' });
    expect(await items).toEqual(['item']);
  });
});
