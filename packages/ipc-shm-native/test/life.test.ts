import { readFileSync, readdirSync } from 'node:fs';
import { filter, firstValueFrom } from 'rxjs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createShmClient, createShmServer } from '../src/index.ts';
import { randomOf } from './fixtures/random.mjs';
import { start } from './support/children.ts';
import { eventually } from './support/eventually.ts';
import { makeDirectory } from './support/place.ts';
import { sleepsOf } from './support/process.ts';
import { scale, seedOf } from './support/scale.ts';

const ROUNDS = scale('SPANWIRE_ROUNDS', 6);
const timeout = 300_000 + ROUNDS * 2_000;

const addressIn = (directory: string): string => `shm:${directory}/s`;

describe.each([true, false])('with external buffers: %s, a process', (externalBuffers) => {
  const live = (ending: string, after = 300) =>
    start('life.mjs', { address: addressIn(makeDirectory()), ending, after, externalBuffers });

  test.each(['close', 'unref'])('ends by itself after %s', async (ending) => {
    const child = live(ending);
    expect(await child.next()).toBe(`${ending} now`);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.errors).toBe('');
  });

  test('may exit and throw at any moment', { timeout }, async () => {
    const random = randomOf(seedOf('exit at any moment'));
    const one = async (ending: 'exit' | 'throw', after: number): Promise<void> => {
      const child = live(ending, after);
      expect(await child.exited).toEqual({ code: ending === 'exit' ? 7 : 1, signal: null });
      if (ending === 'exit') expect(child.errors).toBe('');
      else expect(child.errors).toContain('Error: thrown in between');
    };
    for (let round = 0; round < ROUNDS / 2; round++) {
      await Promise.all([one('exit', 1 + random(400)), one('throw', 1 + random(400))]);
    }
  });

  test(
    'may terminate workers on both sides at any moment; others are told, and nothing stays behind',
    { timeout },
    async () => {
      const seed = seedOf('terminated workers');
      const directory = makeDirectory();
      const child = start('terminate.mjs', { directory, seed, rounds: ROUNDS, externalBuffers });
      const { before, after, codes } = await child.next<{ before: unknown; after: unknown; codes: string[] }>();
      expect(codes).toEqual(Array(ROUNDS).fill('ERR_IPC_PEER_GONE'));
      expect(after).toEqual(before);
      expect(child.errors).toBe('');
      // A server that is torn down takes its name with it.
      expect(readdirSync(directory)).toEqual([]);
    },
  );
});

describe('a process', () => {
  test('stays while one client is referenced', async () => {
    const address = addressIn(makeDirectory());
    const child = start('life.mjs', { address, ending: 'ref', after: 30 });
    expect(await child.next()).toBe('ref now');
    // Its server answers a new client, after everything that could have ended it.
    for (let round = 0; round < 20; round++) {
      await using client = createShmClient(address);
      await client.connect();
      expect(await client.request(new Uint8Array(round))).toHaveLength(round);
    }
    expect((await child.kill()).signal).toBe('SIGKILL');
  });

  test('with a client that is closed ends by itself, and with one that is unreferenced while it is connected', async () => {
    const address = addressIn(makeDirectory());
    const server = createShmServer(address);
    onTestFinished(() => server.close());
    server.respond((_clientId, request) => request);
    await server.listen();
    for (const [task, reason] of [
      ['once', 'closed'],
      ['unref', 'gone'],
    ]) {
      const left = firstValueFrom(server.clients$.pipe(filter((event) => event.type === 'disconnected')));
      const child = start('client.mjs', { address, task });
      expect(await child.next()).toBe('connected');
      expect(await child.exited).toEqual({ code: 0, signal: null });
      expect(await left).toMatchObject({ reason });
    }
  });

  test('with a server that is closed ends by itself, whatever its clients do', async () => {
    const address = addressIn(makeDirectory());
    const child = start('server.mjs', { address });
    expect(await child.next()).toBe('listening');
    const client = createShmClient(address);
    onTestFinished(() => client.close());
    await client.connect();
    expect(await client.request(new Uint8Array(1))).toHaveLength(1);
    child.send('close');
    expect(await child.next()).toBe('closed');
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });

  test('that is idle sleeps, on both sides, and wakes for the next request', async () => {
    const address = addressIn(makeDirectory());
    const server = start('server.mjs', { address });
    expect(await server.next()).toBe('listening');
    const clients = [start('client.mjs', { address, task: 'stay' }), start('client.mjs', { address, task: 'stay' })];
    for (const client of clients) expect(await client.next()).toBe('connected');
    const steady = createShmClient(address);
    onTestFinished(() => steady.close());
    await steady.connect();
    const cpuMs = (pid: number): number => {
      // Clock ticks of 10 ms, in user and system mode.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      return 10 * (Number(fields[11]) + Number(fields[12]));
    };
    const windowMs = 500;
    const pids = [server, ...clients].map((child) => child.pid);
    const over = async (body: () => Promise<void>): Promise<{ cpuMs: number[]; sleeps: number[] }> => {
      const before = pids.map((pid) => [cpuMs(pid), sleepsOf(pid)] as const);
      await body();
      return {
        cpuMs: pids.map((pid, i) => cpuMs(pid) - (before[i]?.[0] ?? 0)),
        sleeps: pids.map((pid, i) => sleepsOf(pid) - (before[i]?.[1] ?? 0)),
      };
    };
    const busy = await over(async () => {
      const until = cpuMs(server.pid) + 100;
      while (cpuMs(server.pid) < until) {
        for (let i = 0; i < 1000; i++) await steady.request(new Uint8Array(64));
      }
    });
    expect(busy.cpuMs[0]).toBeGreaterThanOrEqual(100);
    // In the end nobody does more than what the runtime does by itself. Not at once: it is not done with what was before,
    // and on a busy machine the time that a process did not run while it should have may count as its own.
    for (let isIdle = false; !isIdle;) {
      const idle = await over(() => new Promise((resolve) => setTimeout(resolve, windowMs)));
      process.stderr.write(`busy ${JSON.stringify(busy)}, idle ${JSON.stringify(idle)}\n`);
      isIdle = idle.cpuMs.every((used) => used <= windowMs / 20) && idle.sleeps.every((wakeUps) => wakeUps < 20);
    }
    expect(await steady.request(new Uint8Array(6))).toHaveLength(6);
  });

  test('that is flooded still turns: timers, and a client that just came, have their share', async () => {
    const address = addressIn(makeDirectory());
    const server = createShmServer(address);
    onTestFinished(() => server.close());
    server.respond((_clientId, request) => request);
    await server.listen();
    const flooders = [1, 2].map(() => start('client.mjs', { address, task: 'flood', depth: 256 }));
    for (const flooder of flooders) expect(await flooder.next()).toBe('connected');
    const busyTicks = await new Promise<number>((resolve) => {
      let ticks = 0;
      let last = server.stats.requests;
      const timer = setInterval(() => {
        // A tick counts when the flood went on meanwhile.
        if (server.stats.requests > last) ticks++;
        last = server.stats.requests;
        if (ticks < 200) return;
        clearInterval(timer);
        resolve(ticks);
      }, 1);
    });
    expect(busyTicks).toBe(200);
    const before = server.stats.requests;
    const guest = start('client.mjs', { address, task: 'once' });
    expect(await guest.next()).toBe('connected');
    expect(await guest.exited).toEqual({ code: 0, signal: null });
    // The flood still goes on.
    await eventually(() => server.stats.requests > before + 1, true);
  });
});
