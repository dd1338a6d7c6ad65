import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import type { ClientEvent } from '@spanwire/ipc-core';
import { filter, firstValueFrom, take } from 'rxjs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createShmClient, createShmServer } from '../src/index.ts';
import { expectSanitized, start } from './support/children.ts';
import { converse } from './support/converse.ts';
import { eventually } from './support/eventually.ts';
import { builtPeer, clientHello } from './support/peers.ts';
import { makeDirectory } from './support/place.ts';
import { holdingsOf } from './support/process.ts';
import { scale, seedOf } from './support/scale.ts';
import { stateOf } from './support/served.ts';

const MUTATIONS = scale('SPANWIRE_MUTATIONS', 60_000);
const run = promisify(execFile);
const hostile = await builtPeer('hostile');
const deeds = (await run(hostile, ['deeds'])).stdout
  .trim()
  .split('\n')
  .map((line) => line.split('\t') as [deed: string, finding: string]);
const small = { requestRingBytes: 8192, responseRingBytes: 8192 };
/** Only what is done to it may end a connection. */
const patient = { stalledClient: { afterMs: 2 ** 31 - 1 } };

describe.each([true, false])('with external buffers: %s', (externalBuffers) => {
  test.each(deeds)('a client is dropped with ERR_IPC_PROTOCOL for its %s: %s', async (deed, message) => {
    const path = `${makeDirectory()}/s`;
    const server = createShmServer(`shm:${path}`, { ...small, ...patient, externalBuffers });
    onTestFinished(() => server.close());
    const never = new Promise<never>(() => undefined);
    server.respond((_clientId, request, { input$ }) => {
      if (input$ !== undefined) return input$.pipe(take(1));
      return request[0] === 0x68 ? never : request;
    });
    server.messages$.subscribe();
    await server.listen();
    const left = firstValueFrom(
      server.clients$.pipe(
        filter((event): event is ClientEvent & { type: 'disconnected' } => event.type === 'disconnected'),
      ),
    );
    await run(hostile, [path, clientHello, 'deed', deed]);
    expect(await left).toMatchObject({ reason: 'protocol', error: { code: 'ERR_IPC_PROTOCOL', message } });
  });

  test(
    'a server survives clients that scribble, punch holes, ring for nothing and shake hands wildly; others notice nothing',
    { timeout: 300_000 + MUTATIONS },
    async () => {
      const seed = seedOf('hostile clients');
      const directory = makeDirectory();
      const address = `shm:${directory}/s`;
      const server = start('server.mjs', { address, server: { ...small, ...patient, externalBuffers } });
      expect(await server.next()).toBe('listening');
      expectSanitized(server);
      const steady = createShmClient(address);
      onTestFinished(() => steady.close());
      await steady.connect();
      const before = holdingsOf(server.pid);
      const stop = converse(steady, seed);
      const attack = async (own: number): Promise<Record<string, number>> => {
        const count = Math.ceil(MUTATIONS / 4);
        const { stdout } = await run(hostile, [`${directory}/s`, clientHello, 'wild', `${own}`, `${count}`]);
        return JSON.parse(stdout) as Record<string, number>;
      };
      const attacks = await Promise.all([attack(seed), attack(seed + 1)]);
      const reasons: Record<string, number> = {};
      let clients = 0;
      while (clients !== 1) {
        const { stats, left } = await stateOf(server);
        clients = stats.clients;
        for (const { reason, code } of left) reasons[`${reason} ${code}`] = (reasons[`${reason} ${code}`] ?? 0) + 1;
      }
      const answers = await stop(100);
      process.stderr.write(`hostile clients: ${JSON.stringify({ attacks, reasons, answers })}\n`);
      expect(reasons['protocol ERR_IPC_PROTOCOL']).toBeGreaterThan(0);
      await eventually(() => holdingsOf(server.pid), before);
      expect(readdirSync(directory)).toEqual(['s']);
      expect(server.errors).toBe('');
    },
  );
});
