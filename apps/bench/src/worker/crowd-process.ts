/** The other clients of a server, in a process of their own, so that only the server has to do with them. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Job } from '../workload.ts';

export interface CrowdOptions {
  readonly job: Job;
  readonly address: string;
  readonly clients: number;
  /** What they do between `go` and `rest`: nothing, or requests that take the server long, as many as it takes. */
  readonly load: 'none' | 'slow';
}

export interface Crowd {
  go(): Promise<void>;
  /** Resolves when everything that was asked is answered. */
  rest(): Promise<void>;
}

export async function startCrowd(options: CrowdOptions): Promise<Crowd> {
  const program = fileURLToPath(new URL('./crowd.js', import.meta.url));
  const crowd = fork(program, [JSON.stringify(options)]);
  const answer = async (): Promise<void> => {
    const [first] = (await Promise.race([once(crowd, 'message'), once(crowd, 'exit')])) as unknown[];
    if (first !== 'ready') throw new Error(`The other clients ended with ${String(first)}`);
  };
  await answer();
  const tell = (order: 'go' | 'rest'): Promise<void> => {
    if (options.load === 'none') return Promise.resolve();
    const answered = answer();
    crowd.send(order);
    return answered;
  };
  return { go: () => tell('go'), rest: () => tell('rest') };
}
