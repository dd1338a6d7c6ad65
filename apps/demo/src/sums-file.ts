import { openSync, writeSync } from 'node:fs';
import type { Path } from './find-files.ts';

/** A file in the format of sha256sum, so that `sha256sum --check FILE` proves it. */
export class SumsFile {
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = openSync(path, 'w');
  }

  add(path: Path, sha256: string): void {
    // Byte for byte: a name need not be valid text.
    const name = path.toString('latin1');
    const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
    const mark = escaped === name ? '' : '\\';
    writeSync(this.#descriptor, Buffer.from(`${mark}${sha256}  ${escaped}\n`, 'latin1'));
  }
}
