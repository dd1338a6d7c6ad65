import Table from 'cli-table3';
import type { Share, Tally } from './tally.ts';

/** What `--json` prints. */
export interface Summary {
  readonly transport: string;
  readonly clients: number;
  readonly files: number;
  readonly bytes: number;
  readonly mismatches: number;
  readonly seconds: number;
  readonly errors: number;
}

export function summaryOf(tally: Tally, transport: string): Summary {
  return {
    transport,
    clients: tally.shares.length,
    files: tally.total('files'),
    bytes: tally.total('bytes'),
    mismatches: tally.total('mismatches'),
    seconds: Math.round(tally.seconds() * 1000) / 1000,
    errors: tally.unlisted + tally.total('errors'),
  };
}

/** A row for each client, and one for all. */
export function tableOf(tally: Tally, summary: Summary): string {
  const perSecond = (amount: number): string => (summary.seconds > 0 ? amount / summary.seconds : 0).toFixed(0);
  const row = (name: string, { files, bytes, mismatches, errors }: Omit<Share, 'bytesInHand'>): string[] => [
    name,
    String(files),
    (bytes / 1e6).toFixed(1),
    perSecond(files),
    perSecond(bytes / 1e6),
    String(mismatches),
    String(errors),
  ];
  const table = new Table({
    head: ['client', 'files', 'MB', 'files/s', 'MB/s', 'mismatches', 'errors'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right'],
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
    style: { head: [], border: [] },
  });
  table.push(...tally.shares.map((share, i) => row(String(i + 1), share)), row('all', summary));
  return table.toString();
}
