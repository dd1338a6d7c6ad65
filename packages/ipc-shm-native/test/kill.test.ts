import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { createShmClient } from '../src/index.ts';
import { randomOf } from './fixtures/random.mjs';
import { start, type Child } from './support/children.ts';
import { eventually } from './support/eventually.ts';
import { converse } from './support/converse.ts';
import { serving } from './support/blocking.ts';
import { builtPeer, clientHello } from './support/peers.ts';
import { makeDirectory } from './support/place.ts';
import { holdingsOf, type Holdings } from './support/process.ts';
import { stateOf } from './support/served.ts';
import { scale, seedOf } from './support/scale.ts';

const KILLS = scale('SPANWIRE_KILLS', 260);
/** Of all that are killed: forked clients without a runtime, clients in Node, servers in Node. */
const FORKED = Math.floor(KILLS * 0.8);
const CLIENTS = Math.floor(KILLS * 0.1);
const SERVERS = KILLS - FORKED - CLIENTS;
/** Of those, the ones whose other side blocks: clients of a server that blocks, and servers of a client that is blocked in calls. */
const BLOCKING_FORKED = Math.floor(FORKED / 4);
const BLOCKING_CLIENTS = Math.floor(CLIENTS / 3);
const BLOCKING_SERVERS = Math.floor(SERVERS / 3);
const timeout = 300_000 + KILLS * 500;

/** No timer may stand in for the news of a death. */
const NO_TIMERS = { stalledClient: { afterMs: 2 ** 31 - 1 }, graceMs: 2 ** 31 - 1, handshakeTimeoutMs: 2 ** 31 - 1 };

/** What connections leave when they leave something: mapped memory, and what is polled for them. */
function pollersOf(pid: number): readonly [mappings: number, pollers: number | undefined] {
  const { mappings, descriptors } = holdingsOf(pid);
  return [mappings, descriptors['anon_inode']];
}

const nowMs = (): number => performance.timeOrigin + performance.now();

/** Shared memory with a name. That layout has its own, and the tests of it run beside these. */
function namedMemory(): string[] {
  return readdirSync('/dev/shm').filter((name) => !/_(request|response)$/.test(name));
}

/** Resolves once no name is there that was not there before. */
async function expectNoNewNames(before: readonly string[]): Promise<void> {
  await eventually(() => namedMemory().filter((name) => !before.includes(name)), []);
}

/** What was measured, from the death to the news of it, as text. Throws when somebody was never missed. */
function delaysOf(died: ReadonlyMap<number, number>, left: ReadonlyArray<{ pid: number; atMs: number }>): string {
  const gone = new Map(left.map(({ pid, atMs }) => [pid, atMs]));
  return asText([...died].map(([pid, atMs]) => (gone.get(pid) ?? Number.NaN) - atMs));
}

function asText(delays: readonly number[]): string {
  expect(delays).not.toContain(Number.NaN);
  const sorted = delays.toSorted((a, b) => a - b);
  return `missed after ${sorted[sorted.length >> 1]?.toFixed(1)} ms, at most ${sorted.at(-1)?.toFixed(1)}`;
}

interface Left {
  readonly left: number;
  readonly pid: number;
  readonly reason: string;
  readonly atMs: number;
}

interface Forked {
  readonly killed: number;
  readonly ready: number;
  readonly steps: number;
}

/** Kills clients without a runtime: seconds are enough for hundreds of them. */
async function killForked(count: number, path: string, seed: number): Promise<Forked> {
  const { stdout } = await promisify(execFile)(await builtPeer('mortal'), [
    path,
    clientHello,
    `${seed}`,
    `${count}`,
    '4',
  ]);
  return JSON.parse(stdout) as Forked;
}

/**
 * Kills Node clients, a few at a time, each some milliseconds after it started or connected: one in three blocks in calls, the others do everything at once.
 * Resolves with the pid and time of those that had connected.
 */
async function killClients(count: number, address: string, seed: number): Promise<Map<number, number>> {
  const random = randomOf(seed);
  const died = new Map<number, number>();
  const one = async (own: number): Promise<void> => {
    const victim =
      random(3) === 0
        ? start('sync-client.mjs', { address, task: 'check', seed: own })
        : start('victim.mjs', { address, seed: own });
    const whileStarting = own % 5 === 0;
    if (!whileStarting) expect(await victim.next()).toBe('connected');
    await new Promise((resolve) => setTimeout(resolve, random(whileStarting ? 250 : 30)));
    if (!whileStarting) died.set(victim.pid, nowMs());
    expect(await victim.kill()).toEqual({ code: null, signal: 'SIGKILL' });
  };
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await one(seed + next++);
  };
  await Promise.all([lane(), lane(), lane()]);
  return died;
}

test(
  'clients that are killed at random moments are missed at once and leave nothing, and others notice nothing',
  { timeout },
  async () => {
    const seed = seedOf('killed clients');
    const directory = makeDirectory();
    const address = `shm:${directory}/s`;
    const names = namedMemory();
    const server = start('server.mjs', { address, server: NO_TIMERS });
    expect(await server.next()).toBe('listening');
    const steady = createShmClient(address);
    onTestFinished(() => steady.close());
    await steady.connect();
    const before = holdingsOf(server.pid);
    const stop = converse(steady, seed);

    const [forked, clients] = [FORKED - BLOCKING_FORKED, CLIENTS - BLOCKING_CLIENTS];
    const [{ killed, ready, steps }, died] = await Promise.all([
      killForked(forked, `${directory}/s`, seed),
      killClients(clients, address, seed),
    ]);
    expect(killed).toBe(forked);

    // Until everybody who came has left, but one, and everybody who must have come is among them.
    let { stats, came, left } = await stateOf(server);
    while (stats.clients > 1 || left.length < ready + died.size) {
      const more = await stateOf(server);
      stats = more.stats;
      came = [...came, ...more.came];
      left = [...left, ...more.left];
    }
    expect(stats.clients).toBe(1);
    expect(left.filter(({ reason, code }) => reason !== 'gone' || code !== 'ERR_IPC_PEER_GONE')).toEqual([]);
    expect(left.length).toBe(came.length - 1);
    expect(died.size).toBeGreaterThan(clients / 2);
    expect(ready).toBeGreaterThan(forked / 2);
    const delays = delaysOf(died, left);
    const answers = await stop(KILLS);
    // Those that died in their handshake were no clients.
    await eventually(() => holdingsOf(server.pid), before);
    expect(readdirSync(directory)).toEqual(['s']);
    await expectNoNewNames(names);
    process.stderr.write(
      `killed clients: ${killed} forked (${ready} after their handshake, ${steps} steps), ${clients} in Node (${died.size} connected, ` +
        `${delays}); ${answers} answers beside\n`,
    );
  },
);

test(
  'a server that blocks misses clients that are killed at random moments at once, and others notice nothing',
  { timeout },
  async () => {
    const seed = seedOf('killed clients of a server that blocks');
    const names = namedMemory();
    const { server, address, path } = await serving({ ...NO_TIMERS, handler: 'echo' });
    const steady = createShmClient(address);
    onTestFinished(() => steady.close());
    await steady.connect();
    const before = holdingsOf(server.pid);
    const stop = converse(steady, seed);
    const [{ killed, ready }, died] = await Promise.all([
      killForked(BLOCKING_FORKED, path, seed),
      killClients(BLOCKING_CLIENTS, address, seed),
    ]);
    expect(killed).toBe(BLOCKING_FORKED);

    // Until everybody who came has left, but one, and everybody who must have come is among them.
    const left = new Map<number, Left>();
    const missing = new Set(died.keys());
    let came = 0;
    while (came - left.size !== 1 || missing.size > 0 || left.size < ready + died.size) {
      const said = await server.next<{ came: number } | Left | { message: number }>();
      if ('came' in said) came++;
      if (!('left' in said)) continue;
      left.set(said.left, said);
      missing.delete(said.pid);
    }
    expect([...left.values()].filter(({ reason }) => reason !== 'gone')).toEqual([]);
    const delays = delaysOf(died, [...left.values()]);
    const answers = await stop(BLOCKING_FORKED);
    await eventually(() => holdingsOf(server.pid), before);
    await expectNoNewNames(names);
    process.stderr.write(
      `killed clients of a server that blocks: ${killed} forked (${ready} after their handshake), ${BLOCKING_CLIENTS} in Node ` +
        `(${died.size} connected, ${delays}); ${answers} answers beside\n`,
    );
  },
);

test(
  'servers that are killed at random moments are missed at once, and their successors start over what they left',
  { timeout },
  async () => {
    const seed = seedOf('killed servers');
    const random = randomOf(seed);
    const directory = makeDirectory();
    const address = `shm:${directory}/s`;
    const names = namedMemory();
    const standBy = (): Child => start('server.mjs', { address, standby: true, server: NO_TIMERS });
    const servers = SERVERS - BLOCKING_SERVERS;
    // Some wait in the wings: starting one takes longer than its part of this test.
    const wings = [standBy(), standBy(), standBy()];
    const loyal = createShmClient(address, { reconnect: { delaysMs: [1, 2, 4] } });
    onTestFinished(() => loyal.close());
    let loyalAnswers = 0;
    let begun = false;
    const before = pollersOf(process.pid);
    const loyalCalls: Array<Promise<unknown>> = [];
    const counts = { killed: 0, whileStarting: 0, answers: 0, failed: 0 };

    while (counts.killed < servers) {
      const server = wings.shift() ?? standBy();
      if (counts.killed + wings.length < servers) wings.push(standBy());
      expect(await server.next()).toBe('standing by');
      server.send('go');
      if (begun && random(4) === 0) {
        // In the middle of claiming the address, before or after.
        await new Promise((resolve) => setTimeout(resolve, random(4)));
        expect(await server.kill()).toEqual({ code: null, signal: 'SIGKILL' });
        counts.killed++;
        counts.whileStarting++;
        continue;
      }
      expect(await server.next()).toBe('listening');
      // Whatever the last one left: its socket, or the place where it was about to make one.
      expect(readdirSync(directory)).toEqual(['s']);
      const client = createShmClient(address);
      await client.connect();
      if (!begun) await loyal.connect();
      begun = true;
      // It finds every server there is. What it had sent when one died fails, and what it had not sent waits for the next.
      loyalCalls.push(
        loyal.request(new Uint8Array(100)).then(
          () => loyalAnswers++,
          (error: unknown) => expect(error).toMatchObject({ code: 'ERR_IPC_PEER_GONE' }),
        ),
      );
      const asking = { going: true };
      const talk = async (size: number): Promise<void> => {
        try {
          for (; asking.going; counts.answers++) await client.request(new Uint8Array(size));
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
          counts.failed++;
        }
      };
      const talks = Promise.all([talk(100), talk(100), talk(1500), talk(500_000)]);
      await new Promise((resolve) => setTimeout(resolve, random(25)));
      const ended = server.kill();
      // All of them fail, although no one told the client to stop.
      await talks;
      asking.going = false;
      expect(await ended).toEqual({ code: null, signal: 'SIGKILL' });
      counts.killed++;
      await client.close();
    }
    expect(counts.failed).toBe(4 * (counts.killed - counts.whileStarting));
    expect(readdirSync(directory)).toEqual(['s']);

    const last = standBy();
    expect(await last.next()).toBe('standing by');
    last.send('go');
    expect(await last.next()).toBe('listening');
    await loyal.request(new Uint8Array(1));
    await Promise.all(loyalCalls);
    expect(loyalAnswers).toBeGreaterThan(0);
    await loyal.close();
    expect(readdirSync(directory)).toEqual(['s']);
    await eventually(() => pollersOf(process.pid), before);
    await expectNoNewNames(names);
    process.stderr.write(`killed servers: ${JSON.stringify({ ...counts, loyalAnswers })}\n`);
  },
);

test(
  'calls that block learn at once of servers that are killed at random moments, and leave nothing of them',
  { timeout },
  async () => {
    const seed = seedOf('killed servers of a client that blocks');
    const random = randomOf(seed);
    const directory = makeDirectory();
    const address = `shm:${directory}/s`;
    const names = namedMemory();
    const standBy = (): Child =>
      random(2) === 0
        ? start('server.mjs', { address, standby: true, server: NO_TIMERS })
        : start('sync-server.mjs', { address, standby: true, handler: 'echo', server: NO_TIMERS });
    const wings = [standBy(), standBy()];
    const follower = start('sync-client.mjs', { address, task: 'follow', seed });
    const delays: number[] = [];
    let before: Holdings | undefined;
    while (delays.length < BLOCKING_SERVERS) {
      const server = wings.shift() ?? standBy();
      if (delays.length + wings.length + 1 < BLOCKING_SERVERS) wings.push(standBy());
      expect(await server.next()).toBe('standing by');
      server.send('go');
      expect(await follower.next()).toBe('connected');
      // As with the first one: nothing of the others is left.
      before ??= holdingsOf(follower.pid);
      await eventually(() => holdingsOf(follower.pid), before);
      await new Promise((resolve) => setTimeout(resolve, random(25)));
      const atMs = nowMs();
      await server.kill();
      const said = await follower.next<{ threw: string; atMs: number }>();
      expect(said.threw).toBe('ERR_IPC_PEER_GONE');
      delays.push(said.atMs - atMs);
    }
    expect(readdirSync(directory)).toEqual(['s']);
    await expectNoNewNames(names);
    process.stderr.write(`killed servers of a client that blocks: ${delays.length}, ${asText(delays)}\n`);
  },
);
