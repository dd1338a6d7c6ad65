/** The workloads on the blocking pair of shared memory: without a promise, and without an event loop on either side. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createShmSyncClient, type ShmSyncClient } from '@spanwire/ipc-shm-native';
import type { Job } from '../workload.ts';
import { nowNs } from './clock.ts';
import type { Measured } from './control.ts';
import { expectEcho, FILL } from './request-codes.ts';
import type { Samples } from './samples.ts';
import type { Subject } from './subject.ts';

export async function openBlocking(job: Job, samples: Samples): Promise<Subject> {
  const { workload } = job;
  if (workload.kind !== 'request' && workload.kind !== 'idle') {
    throw new TypeError(`Expected a workload of calls that block, got ${workload.kind}`);
  }
  const path = join(job.place, 'spanwire-blocking.sock');
  const program = fileURLToPath(new URL('./blocking-server.js', import.meta.url));
  // The pipe is what the server learns from that this process has ended: it never looks at a channel.
  const server = fork(program, [path], { stdio: ['pipe', 'inherit', 'inherit', 'ipc'] });
  const over = new AbortController();
  const ended = once(server, 'exit', { signal: over.signal }).then(([code]) => {
    throw new Error(`The blocking server ended with ${String(code)}`);
  });
  try {
    await Promise.race([ended, untilExists(path, over.signal)]);
  } finally {
    over.abort();
  }

  const client = createShmSyncClient(`shm:${path}`);
  const message = new Uint8Array(workload.bytes).fill(FILL);
  const everyMs = workload.kind === 'request' ? workload.everyMs : undefined;
  return {
    serverPid: server.pid ?? null,
    check: () => Promise.resolve(expectEcho(client.call(message), message.length)),
    measure: (ms, paced) => Promise.resolve(roundTrips(client, message, ms, samples, paced ? everyMs : undefined)),
  };
}

/** The file appears when the server listens. */
async function untilExists(path: string, signal: AbortSignal): Promise<void> {
  while (!existsSync(path)) await turn(undefined, { signal });
}

/** Nobody wakes it. */
const never = new Int32Array(new SharedArrayBuffer(4));

/** One after the other. `everyMs`: idle that long before each. */
function roundTrips(
  client: ShmSyncClient,
  message: Uint8Array,
  ms: number,
  samples: Samples,
  everyMs: number | undefined,
): Measured {
  const endNs = nowNs() + ms * 1e6;
  let doneNs: number;
  do {
    if (everyMs !== undefined) Atomics.wait(never, 0, 0, everyMs);
    const beginNs = nowNs();
    client.call(message);
    doneNs = nowNs();
    samples.add(doneNs - beginNs);
  } while (doneNs < endNs);
  return { ...samples.take(), bytesPerClient: null };
}
