import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { IpcRequest } from '@spanwire/ipc-core';
import { released, type HeldRequest } from '@spanwire/ipc-rx';
import { NEVER, type MonoTypeOperatorFunction } from 'rxjs';
import { beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { marbles } from './support/marbles.ts';
import { temporaryFolder } from './support/transports.ts';

interface Leaks {
  readonly echo: number[];
  /** Lengths of spans that were kept after their release. */
  readonly lateUse: number[];
  readonly lateReply: number;
  readonly warnings: Array<{ readonly code: string; readonly message: string; readonly detail: string }>;
  readonly reports: HeldRequest[];
  readonly held: number;
}

/** What leaks over, each with the module and its exports that make a server and a client. */
const factories = [
  ['memory', '@spanwire/ipc-core', 'createMemoryServer', 'createMemoryClient'],
  ['unix sockets', '@spanwire/ipc-socket', 'createSocketServer', 'createSocketClient'],
  ...(process.platform === 'linux'
    ? [['shared memory', '@spanwire/ipc-shm-native', 'createShmServer', 'createShmClient'] as const]
    : []),
] as const;

/** What a process with leaks reports. */
async function run(debug: string | undefined, ...transport: readonly string[]): Promise<Leaks> {
  const program = fileURLToPath(new URL('./fixtures/leaks.mjs', import.meta.url));
  const env = { ...process.env, SPANWIRE_DEBUG: debug };
  await using folder = await temporaryFolder();
  const child = fork(program, [...transport, `${folder.path}/s`], { execArgv: ['--expose-gc', '--no-warnings'], env });
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('The process ended without a report')));
  const [leaks] = (await Promise.race([once(child, 'message'), ended])) as [Leaks];
  ended.catch(() => undefined);
  return leaks;
}

describe.each(factories)('with SPANWIRE_DEBUG=spans, over %s', (_name, ...transport) => {
  let leaks: Leaks;
  beforeAll(async () => {
    leaks = await run('other,spans', ...transport);
  });

  it('answers are what they are without it', () => {
    expect(leaks.echo).toEqual([1, 2, 3]);
  });

  it('a span that is used after its release is empty, on both sides', () => {
    expect(leaks.lateUse).toEqual([0]);
    expect(leaks.lateReply).toBe(0);
  });

  it('a request that was dropped is reported with the stacks of who received it and who read it', () => {
    const warning = leaks.warnings.find(({ message }) => message.startsWith('Request'));
    expect(warning?.message).toBe('Request 4 of client 1 was garbage-collected before its release()');
    expect(warning?.code).toBe('SPANWIRE_SPAN_LEAK');
    const [receivedBy, readBy] = warning?.detail.split('span first read by:') ?? [];
    expect(receivedBy).toContain('leaks.mjs');
    expect(readBy).toContain('kindOf');
  });

  it('a reply of exchange() that was dropped is reported with the stack of the call', () => {
    const warning = leaks.warnings.find(({ message }) => message.startsWith('A reply'));
    expect(warning?.code).toBe('SPANWIRE_SPAN_LEAK');
    expect(warning?.detail).toContain('leaks.mjs');
  });

  it('a request that somebody holds is reported by released(), with the stack of its pipeline', () => {
    expect(leaks.held).toBe(1);
    const [report] = leaks.reports.filter(({ requestId }) => requestId === 3);
    expect(report).toMatchObject({ clientId: 1, requestId: 3, heldMs: 20 });
    expect(report?.stack).toContain('leaks.mjs');
  });
});

describe.each(factories)('without SPANWIRE_DEBUG, over %s', (_name, ...transport) => {
  it('nothing is watched or reported', async () => {
    const leaks = await run(undefined, ...transport);
    expect(leaks.echo).toEqual([1, 2, 3]);
    expect(leaks.lateUse).toEqual([3]);
    expect(leaks.lateReply).toBe(2);
    expect(leaks.warnings).toEqual([]);
    expect(leaks.reports).toEqual([]);
  });
});

describe('released, without SPANWIRE_DEBUG', () => {
  it('gives its source itself', () => {
    expect(released<IpcRequest>()(NEVER)).toBe(NEVER);
    marbles(({ cold, expectObservable }) => {
      expectObservable(cold<IpcRequest>('--#').pipe(released())).toBe('--#');
    });
  });

  it('keeps the type of its requests, and refuses bad arguments at once', () => {
    expectTypeOf(released<IpcRequest>()).toEqualTypeOf<MonoTypeOperatorFunction<IpcRequest>>();
    refuses(() => released({ withinMs: 0 }), RangeError);
    refuses(() => released({ report: 'console' as never }));
  });
});
