/** What has been done so far, and by whom. */
import type { Path } from './find-files.ts';
import type { Report } from './protocol.ts';
import type { SumsFile } from './sums-file.ts';

export class Share {
  files = 0;
  bytes = 0;
  /** Of the file in hand, as far as its client has told. */
  bytesInHand = 0;
  mismatches = 0;
  errors = 0;
}

export class Tally {
  /** One for each client. */
  readonly shares: readonly Share[];
  /** A line for everything that went wrong. */
  readonly troubles: string[] = [];
  readonly #sums: SumsFile | undefined;
  /** Files and directories that could not even be listed. */
  unlisted = 0;
  /** Processes that did not end well. */
  failures = 0;
  #startMs: number | undefined;
  #endMs = 0;

  constructor(clients: number, sums: SumsFile | undefined) {
    this.shares = Array.from({ length: clients }, () => new Share());
    this.#sums = sums;
  }

  /** The first client asks for its first file. */
  begin(): void {
    this.#startMs ??= performance.now();
  }

  skip(path: Path, reason: string): void {
    this.unlisted++;
    this.troubles.push(`${shown(path)}: ${reason}`);
  }

  fail(process: string, reason: string): void {
    this.failures++;
    this.troubles.push(`${process}: ${reason}`);
  }

  add(share: Share, path: Path, report: Report): void {
    this.#endMs = performance.now();
    share.bytesInHand = 0;
    if ('error' in report) {
      share.errors++;
      this.troubles.push(`${shown(path)}: ${report.error}`);
      return;
    }
    share.files++;
    share.bytes += report.bytes;
    this.#sums?.add(path, report.sha256);
    if (report.matches) return;
    share.mismatches++;
    this.troubles.push(`${shown(path)}: the server's SHA-256 is another one than the client's`);
  }

  /** From the first file handed out to the last report, or to now. */
  seconds(until?: 'now'): number {
    if (this.#startMs === undefined) return 0;
    const endMs = until === 'now' ? performance.now() : this.#endMs;
    return Math.max(0, endMs - this.#startMs) / 1000;
  }

  total(key: keyof Share): number {
    return this.shares.reduce((sum, share) => sum + share[key], 0);
  }
}

/** A name may hold line breaks and worse. */
function shown(path: Path): string {
  const text = path.toString();
  return /\p{Cc}/u.test(text) ? JSON.stringify(text) : text;
}
