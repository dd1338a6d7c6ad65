import { readFileSync } from 'node:fs';

/** The memory of a process that is in use now, shared memory included. Linux only. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (line === null) throw new Error(`Expected process ${pid} to say its VmRSS`);
  return Number(line[1]) * 1024;
}
