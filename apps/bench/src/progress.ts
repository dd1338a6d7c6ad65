import { Presets, SingleBar } from 'cli-progress';

const LINE_EVERY_MS = 2000;

export interface Progress {
  step(what: string): void;
  stop(): void;
}

/** A bar, or a plain line now and then where the output is no terminal. On stderr: what is printed can be piped. */
export function showProgress(steps: number): Progress {
  const isTerminal = process.stderr.isTTY;
  const text = '{percentage}% | {elapsed} s | {what}';
  const bar = new SingleBar(
    {
      stream: process.stderr,
      format: isTerminal ? `{bar} ${text}` : text,
      noTTYOutput: true,
      notTTYSchedule: LINE_EVERY_MS,
      clearOnComplete: isTerminal,
      hideCursor: true,
      // Its own handlers of signals would keep the process alive.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  const beginMs = performance.now();
  const payload = (what: string): { elapsed: string; what: string } => ({
    elapsed: ((performance.now() - beginMs) / 1000).toFixed(0),
    what,
  });
  bar.start(steps, 0, payload(''));
  // The cursor has to come back, however this ends.
  const stop = (): void => bar.stop();
  process.once('exit', stop);
  return {
    step: (what) => bar.increment(1, payload(what)),
    stop() {
      process.off('exit', stop);
      stop();
    },
  };
}
