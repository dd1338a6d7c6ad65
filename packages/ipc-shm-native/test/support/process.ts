/** What a process has, as the kernel sees it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { eventually } from './eventually.ts';

export interface Holdings {
  /** Mapped areas of shared memory. */
  readonly mappings: number;
  /** Open descriptors by what they are. */
  readonly descriptors: Readonly<Record<string, number>>;
}

export function holdingsOf(pid: number): Holdings {
  const descriptors: Record<string, number> = {};
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    const kind = kindOf(`/proc/${pid}/fd/${name}`);
    if (kind !== undefined) descriptors[kind] = (descriptors[kind] ?? 0) + 1;
  }
  const mappings = readFileSync(`/proc/${pid}/maps`, 'utf8').split('/memfd:spanwire').length - 1;
  return { mappings, descriptors };
}

/** `socket`, `pipe`, `anon_inode` or a path; undefined when it was closed meanwhile. */
function kindOf(link: string): string | undefined {
  try {
    return readlinkSync(link).replace(/:.*$/, '');
  } catch {
    return undefined;
  }
}

/** How often the main thread of a process went to sleep by itself. */
export function sleepsOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/task/${pid}/status`, 'utf8');
  return Number(/^voluntary_ctxt_switches:\s*(\d+)$/m.exec(status)?.[1]);
}

/** Bytes of shared memory that are in use by a process. */
export function sharedBytesOf(pid: number | 'self'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^RssShmem:\s*(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** Resolves when a process that was sent SIGSTOP, or sent it to itself, does not run any more, with any of its threads. */
export async function untilStopped(pid: number): Promise<void> {
  const tasks = `/proc/${pid}/task`;
  await eventually(() => readdirSync(tasks).every((task) => !runs(`${tasks}/${task}`)), true);
}

/** False for a thread that is stopped, or has just ended. */
function runs(task: string): boolean {
  try {
    return !readFileSync(`${task}/stat`, 'latin1').includes(') T ');
  } catch {
    return false;
  }
}
