/** Where a run was measured: what a reader needs to judge it, and nothing that names the machine or its owner. */
import { execFile } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { promisify } from 'node:util';

export interface Machine {
  readonly cpuModel: string;
  /** CPUs that this process may use. */
  readonly cpus: number;
  readonly memoryGiB: number;
  /** As in `Linux 6.18.5`. */
  readonly kernel: string;
  readonly architecture: string;
  readonly node: string;
  /** The commit of this repository, with `-dirty` when files differ from it; null outside of a clone. */
  readonly commit: string | null;
}

export async function describeMachine(): Promise<Machine> {
  return {
    cpuModel: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    architecture: process.arch,
    node: process.version,
    commit: await currentCommit(),
  };
}

async function currentCommit(): Promise<string | null> {
  const git = promisify(execFile);
  const options = { cwd: import.meta.dirname };
  try {
    const { stdout: commit } = await git('git', ['rev-parse', 'HEAD'], options);
    const { stdout: changes } = await git('git', ['status', '--porcelain', '--untracked-files=no'], options);
    return commit.trim() + (changes.trim() === '' ? '' : '-dirty');
  } catch {
    return null;
  }
}
