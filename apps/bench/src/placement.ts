/** Which CPUs processes run on. Linux only; elsewhere nothing is known and nothing can be pinned. */
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The CPU that a process's main thread ran on last. */
export function cpuOf(pid: number): number | null {
  const stat = readOrUndefined(`/proc/${pid}/stat`);
  // The name in parentheses may hold spaces; the fields after it start with the third.
  const field = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[39 - 3];
  return field === undefined ? null : Number(field);
}

/** What all threads of a process have used since they started. */
export interface CpuUse {
  readonly ns: number;
  /** How often they were put on a CPU. */
  readonly wakeUps: number;
}

export function cpuUseOf(pid: number): CpuUse | null {
  try {
    let ns = 0;
    let wakeUps = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [onCpuNs, , slices] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
      ns += Number(onCpuNs);
      wakeUps += Number(slices);
    }
    return { ns, wakeUps };
  } catch {
    return null;
  }
}

/** Two CPUs for the two sides, on different cores where there are; undefined when this process may use only one. */
export function twoCpus(): readonly [number, number] | undefined {
  const allowed = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readOrUndefined('/proc/self/status') ?? '')?.[1];
  const [first, ...others] = cpuList(allowed ?? '');
  if (first === undefined) return undefined;
  const siblings = cpuList(
    readOrUndefined(`/sys/devices/system/cpu/cpu${first}/topology/thread_siblings_list`)?.trim() ?? '',
  );
  const second = others.find((cpu) => !siblings.includes(cpu)) ?? others[0];
  return second === undefined ? undefined : [first, second];
}

/** Rejects when there is no `taskset`, or it fails. */
export async function pin(pid: number, cpu: number): Promise<void> {
  await run('taskset', ['--all-tasks', '--cpu-list', '--pid', String(cpu), String(pid)]);
}

/** `0-3,8` as numbers. */
export function cpuList(text: string): number[] {
  if (text === '') return [];
  return text.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
