import { fromReadable, serve, toDuplex, toReadable, toWritable } from '@spanwire/ipc-rx';
import { type Duplex, PassThrough, Readable, type Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { from, lastValueFrom, map, Subject, take, toArray } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Log } from './support/log.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

/** A Node stream that counts what was read of it. */
function counted(itemBytes: number): { readable: Readable; read: () => number; closed: Log<true> } {
  let read = 0;
  const closed = new Log<true>();
  const readable = new Readable({
    highWaterMark: itemBytes,
    read() {
      this.push(new Uint8Array(itemBytes).fill(read++ & 255));
    },
  });
  readable.on('close', () => closed.add(true));
  return { readable, read: () => read, closed };
}

describe('Node streams, without a connection', () => {
  it('have the types of Node', () => {
    expectTypeOf(toReadable).returns.toEqualTypeOf<Readable>();
    expectTypeOf(toWritable).returns.toEqualTypeOf<Writable>();
    expectTypeOf(toDuplex).returns.toEqualTypeOf<Duplex>();
  });

  it('an Observable becomes a stream, empty items left out, and its error the error of the stream', async () => {
    const stream = toReadable(from(['a', '', '', 'b', '']).pipe(map(bytes)));
    expect(text(await buffer(stream))).toBe('ab');
    const failing$ = new Subject<Uint8Array>();
    const failing = buffer(toReadable(failing$));
    failing$.error(new Error('broken'));
    await expect(failing).rejects.toThrow('broken');
  });

  it('destroying a stream leaves its source', async () => {
    const source$ = new Subject<Uint8Array>();
    const stream = toReadable(source$);
    stream.read();
    expect(source$.observed).toBe(true);
    const closed = new Log<true>();
    stream.on('close', () => closed.add(true));
    stream.destroy();
    await closed.reaches(1);
    expect(source$.observed).toBe(false);
  });

  it('a stream becomes a source, which destroys it when it is left, also while a chunk is awaited', async () => {
    const { readable, closed } = counted(1);
    const items = await lastValueFrom(fromReadable(readable).pipe(take(3), toArray()));
    expect(items.map((item) => item[0])).toEqual([0, 1, 2]);
    await closed.reaches(1);
    const silent = new PassThrough();
    const left = new Log<true>();
    silent.on('close', () => left.add(true));
    fromReadable(silent).subscribe().unsubscribe();
    await left.reaches(1);
  });
});

describe.each(transports)('Node streams over $name', ({ open }) => {
  it('a slow reader slows a stream in the other process down', async () => {
    await using scene = await open();
    const client = await scene.connect({ streamWindowBytes: 8192 });
    const { readable, read, closed } = counted(1024);
    serve(scene.server, (_clientId, request) => (text(request) === 'ping' ? request : fromReadable(readable)));
    const stream = toReadable(client.request$(bytes('items')), { highWaterMark: 1024 });
    let position = 0;
    for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
      for (const byte of chunk) expect(byte).toBe((position++ >> 10) & 255);
      if (position >= 20 * 1024) break;
    }
    for (let i = 0; i < 5; i++) await client.request(bytes('ping'));
    expect(read()).toBeLessThan(position / 1024 + 15);
    stream.destroy();
    await closed.reaches(1);
  });

  it('a Readable is an answer by itself', async () => {
    await using scene = await open();
    const client = await scene.connect();
    serve(scene.server, () => Readable.from(['a', 'b', 'c'].map(bytes), { objectMode: true }));
    expect(text(await buffer(toReadable(client.request$(bytes('?')))))).toBe('abc');
  });

  it('a stream is written one-way at the pace of the server', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const client = await scene.connect();
    const { readable, read } = counted(1024);
    const finished = new Log<unknown>();
    const writable = toWritable(client, { highWaterMark: 1024 });
    pipeline(readable, writable).catch((error: unknown) => finished.add(error));
    await scene.connect();
    expect(read()).toBeLessThan(12);
    const received = new Log<number>();
    scene.server.messages$.subscribe(({ data }) => received.add(data[0] ?? -1));
    await received.reaches(100);
    expect(received.entries.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    readable.destroy(new Error('enough'));
    await finished.reaches(1);
    expect(finished.entries[0]).toMatchObject({ message: 'enough' });
    expect(writable.destroyed).toBe(true);
  });

  it('a chunk that cannot be sent fails the pipeline', async () => {
    await using scene = await open({ maxMessageBytes: 1000 });
    const client = await scene.connect();
    await expect(pipeline(Readable.from([new Uint8Array(2000)]), toWritable(client))).rejects.toMatchObject({
      code: 'ERR_IPC_MESSAGE_TOO_LARGE',
    });
  });

  it('a duplex stream goes through a handler', async () => {
    await using scene = await open({ streamWindowBytes: 8192 });
    const client = await scene.connect({ streamWindowBytes: 8192 });
    serve(scene.server, (_clientId, _request, { input$ }) => {
      if (input$ === undefined) return undefined;
      const gzip = createGzip();
      pipeline(toReadable(input$), gzip).catch(() => undefined);
      return gzip;
    });
    const original = Buffer.from('all work and no play '.repeat(20_000));
    const parts = Array.from({ length: 100 }, (_, i) =>
      original.subarray((i * original.length) / 100, ((i + 1) * original.length) / 100),
    );
    const zipped = new PassThrough();
    const [back] = await Promise.all([
      buffer(zipped.pipe(createGunzip())),
      pipeline(Readable.from(parts), toDuplex(client, bytes('gzip')), zipped),
    ]);
    expect(back.equals(original)).toBe(true);
  });

  it('destroying a duplex stream cancels the call', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const aborted = new Log<unknown>();
    serve(scene.server, (_clientId, _request, { input$, signal }) => {
      signal.addEventListener('abort', () => aborted.add(signal.reason));
      return input$;
    });
    const duplex = toDuplex(client, bytes('echo'));
    duplex.write(bytes('one'));
    const chunks = duplex[Symbol.asyncIterator]();
    expect(text((await chunks.next()).value as Uint8Array)).toBe('one');
    duplex.destroy();
    await aborted.reaches(1);
    expect(aborted.entries[0]).toMatchObject({ code: 'ERR_IPC_CANCELLED' });
  });

  it('the failure of a call destroys the duplex stream with it', async () => {
    await using scene = await open();
    const client = await scene.connect();
    serve(scene.server, () => {
      throw new Error('as asked');
    });
    const failed = new Log<unknown>();
    toDuplex(client, bytes('?')).on('error', (error) => failed.add(error));
    await failed.reaches(1);
    expect(failed.entries[0]).toMatchObject({ message: 'as asked' });
  });
});
