import { createReadStream, createWriteStream, readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { WritableStream } from 'node:stream/web';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import * as core from '@spanwire/ipc-core';
import * as rx from '@spanwire/ipc-rx';
import * as rxjs from 'rxjs';
import { describe, expect, it } from 'vitest';
import { Log } from './support/log.ts';
import { bytes, text } from './support/text.ts';
import { temporaryFolder } from './support/transports.ts';

const sources = fileURLToPath(new URL('../src/', import.meta.url));

/** The code of the `@example` of a source, if it has one. */
function exampleOf(file: string): string | undefined {
  const [, example] = /\n \* @example\n((?: \*.*\n)+?) \*\//.exec(readFileSync(sources + file, 'utf8')) ?? [];
  return example?.replace(/^ \* ?/gm, '');
}

/** What the examples find around them: a server and a connected client, and the odds and ends of a program. */
interface Scope {
  readonly server: core.IpcServer;
  readonly client: core.IpcClient;
  readonly folder: string;
  readonly seen: Log<unknown>;
  readonly signal: AbortController;
  readonly button: EventTarget;
}

/** What shows that an example works. Requests of `client` come after the example has run its first, synchronous part. */
type Proof = (scope: Scope, running: Promise<unknown>) => Promise<void>;

/** The example answers requests with themselves. */
const echoes: Proof = async ({ client }) => {
  expect(text(await client.request(bytes('hello')))).toBe('hello');
};

/** The example shows replies of an echoing server. */
const shows =
  (...expected: unknown[]): Proof =>
  async ({ server, seen }) => {
    rx.serve(server, (_clientId, request) => request);
    await seen.reaches(expected.length);
    expect(seen.entries).toEqual(expected);
  };

const proofs: Record<string, Proof> = {
  'abortable.ts': async ({ client }) => {
    expect(text(await rxjs.firstValueFrom(client.request$(bytes('data:,fetched'))))).toBe('fetched');
  },
  'copied.ts': echoes,
  'deadline.ts': echoes,
  'decode.ts': async ({ client }) => {
    expect(text(await client.request(bytes('[1]')))).toBe('{"youSent":[1]}');
  },
  'encode.ts': async ({ client }) => {
    expect(text(await client.request(bytes('hello')))).toBe('5');
  },
  'fairly.ts': echoes,
  'from-abort-signal.ts': async (scope, running) => {
    await echoes(scope, running);
    scope.signal.abort();
    await scope.server.closed;
  },
  'from-readable.ts': async ({ server }) => {
    const { data } = await rxjs.firstValueFrom(server.messages$);
    expect(text(data)).toBe('the file');
  },
  'from-readable-stream.ts': async ({ client }) => {
    expect(text(await rxjs.firstValueFrom(client.request$(bytes('hello'))))).toBe('hello');
  },
  'handle.ts': echoes,
  'limit-in-flight.ts': echoes,
  'meter.ts': async (scope, running) => {
    await echoes(scope, running);
    await scope.seen.reaches(1);
    expect(scope.seen.entries[0]).toMatchObject({ requests: 1 });
  },
  'per-client.ts': async ({ client }) => {
    await client.request(bytes('first'));
    expect(text(await client.request(bytes('second')))).toBe('you said 2 things');
  },
  'release-after.ts': async ({ client, seen }) => {
    await expect(client.request(bytes('entry'))).rejects.toMatchObject({ message: 'The handler gave no answer' });
    expect(seen.entries).toEqual(['entry']);
  },
  'released.ts': echoes,
  'request-each.ts': async ({ server, seen }) => {
    rx.serve(server, (_clientId, request) => bytes(JSON.stringify(text(request).length)));
    await seen.reaches(2);
    expect(seen.entries).toEqual([3, 5]);
  },
  'resend-refused.ts': async ({ server }, running) => {
    rx.serve(server, (_clientId, request) => request);
    await running;
    expect(server.stats.requests).toBe(1);
  },
  'retry-on-reconnect.ts': shows('query'),
  'route.ts': async ({ client }) => {
    const method = (name: string): core.CallOptions => ({ metadata: new Map([['method', name]]) });
    expect(text(await client.request(bytes('key'), method('get')))).toBe('key');
    expect(text(await client.request(bytes('key'), method('search')))).toBe('key');
    await expect(client.request(bytes('key'))).rejects.toMatchObject({ message: 'no such method' });
  },
  'send-each.ts': async ({ server }, running) => {
    const { data } = await rxjs.firstValueFrom(server.messages$);
    expect(text(data)).toBe('the file');
    await running;
  },
  'serve.ts': async () => {
    await using client = core.createMemoryClient('upper');
    await client.connect();
    expect(text(await client.request(bytes('quiet')))).toBe('QUIET');
  },
  'shed-load.ts': echoes,
  'to-abort-signal.ts': async ({ server, button }, running) => {
    const started = new Log<true>();
    rx.serve(server, () => {
      started.add(true);
      return new Promise(() => undefined);
    });
    await started.reaches(1);
    button.dispatchEvent(new Event('cancel'));
    await expect(running).rejects.toMatchObject({ type: 'cancel' });
  },
  'to-async-iterable.ts': async (scope, running) => {
    await echoes(scope, running);
    scope.server.requestShutdown();
    await running;
  },
  'to-duplex.ts': async ({ server, folder }, running) => {
    rx.serve(server, zipInput);
    await running;
    expect(text(gunzipSync(await readFile(`${folder}/file.gz`)))).toBe('the file');
  },
  'to-duplex-stream.ts': async ({ server, seen }, running) => {
    rx.serve(server, zipInput);
    await running;
    expect(text(gunzipSync(Buffer.concat(seen.entries as Uint8Array[])))).toBe('the source');
  },
  'to-readable.ts': async ({ server, folder }, running) => {
    rx.serve(server, () => createReadStream(`${folder}/file`));
    await running;
    expect(await readFile(`${folder}/copy`, 'utf8')).toBe('the file');
  },
  'to-readable-stream.ts': async ({ server, seen }, running) => {
    rx.serve(server, () => gzipSync('the file'));
    await running;
    expect(text(Buffer.concat(seen.entries as Uint8Array[]))).toBe('the file');
  },
  'to-writable.ts': async ({ server }) => {
    const { data } = await rxjs.firstValueFrom(server.messages$);
    expect(text(data)).toBe('the file');
  },
  'to-writable-stream.ts': async ({ server }) => {
    const { data } = await rxjs.firstValueFrom(server.messages$);
    expect(text(data)).toBe('the report');
  },
  'until-aborted.ts': shows('query'),
  'until-shutdown.ts': async ({ client, server }) => {
    expect(text(await client.request(bytes('hello')))).toBe('hello');
    process.emit('SIGTERM');
    await server.closed;
  },
};

const zipInput: core.Handler = async (_clientId, _request, { input$ }) => {
  const parts: Uint8Array[] = [];
  for await (const part of input$ ?? []) parts.push(part);
  return gzipSync(Buffer.concat(parts));
};

/** Runs the example of `file` with everything in it that it mentions. */
function start(file: string, scope: Scope): Promise<unknown> {
  const { server, client, folder, seen, signal, button } = scope;
  const echo = (_clientId: number, request: Uint8Array): Promise<Uint8Array> =>
    Promise.resolve(new Uint8Array(request));
  const copy = (request: Uint8Array): Promise<Uint8Array> => Promise.resolve(new Uint8Array(request));
  // Bytes leave as text where they are shown, so that they can be compared.
  const show = (value: unknown): void => seen.add(value instanceof Uint8Array ? text(value) : value);
  const everything: Record<string, unknown> = {
    ...core,
    ...rxjs,
    ...rx,
    server,
    client,
    seen,
    signal: signal.signal,
    button,
    show,
    text,
    createReadStream,
    createWriteStream,
    pipeline,
    handler: echo,
    digest: copy,
    search: (first: unknown, second: unknown) => copy((first instanceof Uint8Array ? first : second) as Uint8Array),
    // Once it is a handler, once it takes a span.
    work: (first: unknown, second: unknown) => copy((first instanceof Uint8Array ? first : second) as Uint8Array),
    store: { write: copy, get: copy },
    journal: {
      append: (entry: Uint8Array) => {
        seen.add(text(entry));
        return Promise.resolve();
      },
    },
    log: { info: (entry: unknown) => seen.add(entry) },
    BUSY: bytes('busy'),
    names: ['ann', 'berta'],
    data: bytes('data'),
    query: bytes('query'),
    path: file === 'to-readable.ts' || file === 'to-readable-stream.ts' ? bytes('file') : `${folder}/file`,
    copy: `${folder}/copy`,
    report: 'the report',
    source: new Blob(['the source']).stream(),
    destination: new WritableStream({ write: (chunk: Uint8Array) => seen.add(chunk) }),
    openBlob: (request: Uint8Array<ArrayBuffer>) => new Blob([request]),
    fetchBytes: async (url: URL, init: RequestInit) => new Uint8Array(await (await fetch(url, init)).arrayBuffer()),
    giveUp: (error: unknown) => seen.add(error),
    console: { log: () => undefined },
  };
  const names = Object.keys(everything).filter((name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== 'default');
  // A block of its own: an example may declare what is there already.
  const code = `return (async () => {\n${exampleOf(file)}\n})();`;
  // oxlint-disable-next-line typescript/no-implied-eval -- running documentation is the point of this test
  const run = new Function(...names, code) as (...values: unknown[]) => Promise<unknown>;
  return run(...names.map((name) => everything[name]));
}

describe('the example in the docblock of', () => {
  const files = readdirSync(sources).filter((file) => exampleOf(file) !== undefined);

  it('every operator and bridge is there, and each has a proof', () => {
    const index = readFileSync(`${sources}index.ts`, 'utf8');
    const exported = [...index.matchAll(/from '\.\/(.+?)'/g)].map(([, file]) => file);
    const withoutExample = exported.filter((file) => !files.includes(file ?? ''));
    expect(new Set(withoutExample)).toEqual(new Set(['codec.ts', 'pullable.ts']));
    expect(new Set(files)).toEqual(new Set(Object.keys(proofs)));
  });

  it.each(files)('%s runs', async (file) => {
    await using folder = await temporaryFolder();
    await writeFile(`${folder.path}/file`, 'the file');
    await using server = core.createMemoryServer(`example ${file}`);
    await server.listen();
    await using client = core.createMemoryClient(`example ${file}`);
    await client.connect();
    const scope: Scope = {
      server,
      client,
      folder: folder.path,
      seen: new Log(),
      signal: new AbortController(),
      button: new EventTarget(),
    };
    const running = start(file, scope);
    // What it throws fails the test, unless the proof expects it.
    const failed = running.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    await proofs[file]?.(scope, running);
    await client.close();
    await server.close();
    if (file !== 'to-abort-signal.ts') expect(await failed).toBeUndefined();
  });
});
