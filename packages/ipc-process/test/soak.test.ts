/**
 * Many processes, one after the other; and processes that are killed in the middle of calls. `SPANWIRE_PROCESSES` says how many are spawned; a quarter of
 * that is killed, and as many parents.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { RemoteError } from '@spanwire/ipc-core';
import { createIpc, type RemoteInit } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { fixture, onLinux, openDescriptors, seededRandom, temporaryFolder, testIpc, twoAtATime } from './support.ts';

/** All but the first have a socket file besides the inherited channel. */
const transports: readonly string[] = onLinux ? ['pipe', 'unix', 'shm'] : ['pipe', 'unix', 'pipe'];

const PROCESSES = Number(process.env['SPANWIRE_PROCESSES'] ?? 48);
const KILLS = Math.ceil(PROCESSES / 4);
if (!(Number.isInteger(PROCESSES) && PROCESSES > 0)) {
  throw new RangeError(`Expected SPANWIRE_PROCESSES to be a whole number, got ${process.env['SPANWIRE_PROCESSES']}`);
}

/** Watchdogs, for machines that are busy with other things. */
const MINUTE = 60_000;
const MINUTES_10 = 600_000;

test.runIf(onLinux)(
  'processes that are spawned and disposed leave no process, descriptor or socket behind',
  async () => {
    const temporary = temporaryFolder();
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = temporary;
    onTestFinished(() => {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    });
    const ipc = createIpc();
    const cycle = async (i: number): Promise<void> => {
      const transport = transports[i % 3]!;
      const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { transport, stdout: 'ignore' });
      expect(await service.callMe((value) => value, i)).toBe(i + 1);
      await service[Symbol.asyncDispose]();
    };
    // What is made once, by the first.
    for (let i = 0; i < 3; i++) await cycle(i);
    const descriptors = openDescriptors();
    const children = childrenOfThis();
    await twoAtATime(PROCESSES, cycle);
    await ipc[Symbol.asyncDispose]();
    expect(childrenOfThis()).toEqual(children);
    // A socket lingers until its peer is known to be gone, which is after the process was reaped.
    await expect.poll(openDescriptors, { timeout: MINUTE }).toBeLessThanOrEqual(descriptors);
    expect(readdirSync(temporary)).toEqual([]);
  },
  MINUTES_10,
);

test(
  'a process killed in the middle of calls: every call gets its right answer or fails',
  async () => {
    await twoAtATime(KILLS, async (i) => {
      const random = seededRandom(1_000 + i);
      const ipc = testIpc();
      const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { transport: transports[i % 3] });
      const killAfter = Math.floor(random() * 60);
      let answered = 0;
      const outcomes: Array<Promise<'answered' | 'failed'>> = [];
      for (let call = 0; call < 80; call++) {
        outcomes.push(
          oneCall(service, random).then(
            () => {
              if (++answered === killAfter) ipc.processOf(service).kill('SIGKILL');
              return 'answered' as const;
            },
            (error: unknown) => {
              expectGone(error, `seed ${1_000 + i}, call ${call}`);
              return 'failed' as const;
            },
          ),
        );
      }
      if (killAfter === 0) ipc.processOf(service).kill('SIGKILL');
      await Promise.all(outcomes);
      expect(await ipc.processOf(service).exited).toMatchObject({ code: null, signal: 'SIGKILL' });
      await service[Symbol.asyncDispose]();
    });
  },
  MINUTES_10,
);

test(
  'a parent killed in the middle of calls: its process ends',
  async () => {
    await twoAtATime(KILLS, async (i) => {
      const random = seededRandom(2_000 + i);
      const parent = spawn(process.execPath, [fileURLToPath(fixture('parent.mjs'))]);
      parent.stderr.pipe(process.stderr);
      // The process shares it: it ends when both have.
      const bothGone = once(parent.stdout, 'close');
      const lines = createInterface({ input: parent.stdout })[Symbol.asyncIterator]();
      await lines.next();
      parent.stdin.write('busy\n');
      expect((await lines.next()).value).toBe('busy');
      for (let turns = Math.floor(random() * 500); turns > 0; turns--) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      parent.kill('SIGKILL');
      await bothGone;
    });
  },
  MINUTES_10,
);

/** One of several kinds of calls, its answer checked. */
async function oneCall(service: RemoteInit<Service>, random: () => number): Promise<void> {
  const number = Math.floor(random() * 1_000);
  switch (Math.floor(random() * 5)) {
    case 0:
      expect(await service.add(number, 1)).toBe(number + 1);
      return;
    case 1: {
      const bytes = new Uint8Array(Math.floor(random() * 400_000)).fill(number);
      expect(Buffer.from((await service.echo(bytes)) as Uint8Array).equals(bytes)).toBe(true);
      return;
    }
    case 2:
      expect(await service.callMe((value) => value * 2, number)).toBe(number * 2 + 1);
      return;
    case 3:
      expect(await service.counter(number).increment(1)).toBe(number + 1);
      return;
    default: {
      let count = 0;
      for await (const item of await service.produce(number, 0)) expect(item).toBe(count++);
      expect(count).toBe(number);
    }
  }
}

function expectGone(error: unknown, what: string): void {
  // A call that runs there can be told of the end by what it called back.
  const code = error instanceof RemoteError ? error.remote.code : (error as { code?: unknown }).code;
  expect([what, code, String(error)]).toEqual([what, 'ERR_IPC_PEER_GONE', String(error)]);
}

function childrenOfThis(): string[] {
  return readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);
}
