import { Presets, SingleBar } from 'cli-progress';
import type { Tally } from './tally.ts';

const REFRESH_MS = 100;
const LINE_EVERY_MS = 1000;
const NUMBERS = '{percentage}% | {value}/{total} files | {filesPerSecond} files/s | {megabytesPerSecond} MB/s{note}';

/** Shows a bar, or a plain line every second where the output is no terminal, until the function that it returns is called. */
export function showProgress(tally: Tally, total: number, stop: AbortSignal): () => void {
  const isTerminal = process.stdout.isTTY;
  const bar = new SingleBar(
    {
      stream: process.stdout,
      format: isTerminal ? `{bar} ${NUMBERS}` : NUMBERS,
      barsize: 20,
      noTTYOutput: true,
      notTTYSchedule: LINE_EVERY_MS,
      // Else an update prints a line of its own, the last one too.
      synchronousUpdate: false,
      // Ctrl-C is not the end here.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  const numbers = (): Record<string, string> => {
    const seconds = tally.seconds('now');
    const rate = (amount: number): string => (seconds > 0 ? amount / seconds : 0).toFixed(0);
    return {
      filesPerSecond: rate(tally.total('files')),
      megabytesPerSecond: rate((tally.total('bytes') + tally.total('bytesInHand')) / 1e6),
      note: stop.aborted ? ' | stopping' : '',
    };
  };
  const done = (): number => tally.total('files') + tally.total('errors');
  bar.start(total, 0, numbers());
  const timer = setInterval(() => {
    // That all is done is said once, at the end.
    if (done() < total) bar.update(done(), numbers());
  }, REFRESH_MS);
  return () => {
    clearInterval(timer);
    bar.update(done(), numbers());
    bar.stop();
  };
}
