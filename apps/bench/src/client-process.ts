import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LinkName } from './links.ts';
import type { Measured, Order, Report } from './worker/control.ts';
import type { Workload } from './workload.ts';

/** A client process with its server, ready to measure. */
export class ClientProcess {
  readonly clientPid: number;
  /** Null when the server is in the client's process. */
  readonly serverPid: number | null;
  readonly clockNs: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ready: Report & { type: 'ready' }) {
    this.#child = child;
    this.clientPid = child.pid ?? 0;
    this.serverPid = ready.serverPid;
    this.clockNs = ready.clockNs;
  }

  /** Resolves to the reason when the link cannot be measured here. */
  static async start(link: LinkName, workload: Workload, place: string): Promise<ClientProcess | string> {
    mkdirSync(place, { recursive: true });
    const program = fileURLToPath(new URL('./worker/client.js', import.meta.url));
    const child = fork(program, [JSON.stringify({ link, workload, place })]);
    try {
      const report = await nextReport(child);
      if (report.type === 'ready') return new ClientProcess(child, report);
      if (report.type === 'skipped') {
        child.disconnect();
        return report.reason;
      }
      throw new Error(
        report.type === 'failed' ? report.message : `Expected the client to be ready, got ${report.type}`,
      );
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Runs the workload at full speed, for `ms`. */
  warmUp(ms: number): Promise<Measured> {
    return this.#order({ type: 'measure', ms, leadInMs: 0, paced: false });
  }

  measure(ms: number, leadInMs: number): Promise<Measured> {
    return this.#order({ type: 'measure', ms, leadInMs, paced: true });
  }

  async #order(order: Order): Promise<Measured> {
    this.#child.send(order);
    const report = await nextReport(this.#child);
    if (report.type === 'measured') return report.measured;
    throw new Error(report.type === 'failed' ? report.message : `Expected a measurement, got ${report.type}`);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }
}

async function nextReport(child: ChildProcess): Promise<Report> {
  const over = new AbortController();
  try {
    const { signal } = over;
    const [first, signalName] = (await Promise.race([
      once(child, 'message', { signal }),
      once(child, 'exit', { signal }),
    ])) as unknown[];
    if (typeof first === 'object' && first !== null) return first as Report;
    return { type: 'failed', message: `the client process ended with ${String(first ?? signalName)}` };
  } finally {
    over.abort();
  }
}
