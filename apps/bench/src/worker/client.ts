/** `node client.js JOB`: opens a link, and measures when the harness says so. Ends with the harness. */
import { isTransport, missingHere } from '../links.ts';
import type { Job } from '../workload.ts';
import { openBlocking } from './blocking-subject.ts';
import { clockCostNs } from './clock.ts';
import type { Order, Report } from './control.ts';
import { openPeer } from './peer-subject.ts';
import { Samples } from './samples.ts';
import { openSpanwire } from './spanwire-subject.ts';
import type { Missing, Subject } from './subject.ts';

const job = JSON.parse(process.argv[2] ?? '') as Job;
process.on('disconnect', () => process.exit());
process.on('unhandledRejection', fail);
process.on('uncaughtException', fail);

try {
  const clockNs = clockCostNs();
  const samples = new Samples(clockNs);
  const subject = await open(samples);
  if ('missing' in subject) {
    report({ type: 'skipped', reason: subject.missing });
  } else {
    await subject.check();
    process.on('message', (order: Order) => void measure(subject, order).catch(fail));
    report({ type: 'ready', serverPid: subject.serverPid, clockNs });
  }
} catch (error) {
  fail(error);
}

function open(samples: Samples): Promise<Subject | Missing> {
  const missing = missingHere(job.link);
  if (missing !== undefined) return Promise.resolve({ missing });
  if (job.link === 'shm-blocking') return openBlocking(job, samples);
  return isTransport(job.link) ? openSpanwire(job, samples) : openPeer(job, samples);
}

async function measure(subject: Subject, { ms, leadInMs, paced }: Order): Promise<void> {
  // Caches are warm and everybody is awake when it counts.
  if (leadInMs > 0) await subject.measure(leadInMs, paced);
  report({ type: 'measured', measured: await subject.measure(ms, paced) });
}

function report(what: Report): void {
  // Without a harness there is nobody to tell, also not that telling failed.
  process.send?.(what, undefined, undefined, (error) => {
    if (error !== null) process.exit(1);
  });
}

function fail(error: unknown): void {
  report({ type: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
