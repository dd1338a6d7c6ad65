/** The files below a directory, as `find -L DIRECTORY -type f` names them: links are followed. */
import { readdir, stat } from 'node:fs/promises';
import { sep } from 'node:path';
import { reasonOf } from './protocol.ts';

/** Bytes, because a file name need not be valid text. */
export type Path = Buffer;

/**
 * Lists until `stop` aborts. What cannot be listed is reported to `onTrouble` and left out: directories without permission, links
 * that lead nowhere or in circles, whatever vanishes meanwhile.
 */
export async function findFiles(
  directory: string,
  stop: AbortSignal,
  onTrouble: (path: Path, reason: string) => void,
): Promise<Path[]> {
  const files: Path[] = [];
  const around = new Set<string>();

  async function visit(path: Path): Promise<void> {
    const { dev, ino } = await stat(path, { bigint: true });
    const identity = `${dev}:${ino}`;
    if (around.has(identity)) throw new Error('ELOOP: a link back to a directory that it is in');
    const entries = await readdir(path, { withFileTypes: true, encoding: 'buffer' });
    around.add(identity);
    for (const entry of entries.sort((a, b) => Buffer.compare(a.name, b.name))) {
      if (stop.aborted) break;
      const inside = Buffer.concat([path, Buffer.from(sep), entry.name]);
      try {
        const kind = entry.isSymbolicLink() ? await stat(inside) : entry;
        if (kind.isDirectory()) await visit(inside);
        else if (kind.isFile()) files.push(inside);
      } catch (error) {
        onTrouble(inside, reasonOf(error));
      }
    }
    around.delete(identity);
  }

  try {
    await visit(Buffer.from(directory));
  } catch (error) {
    onTrouble(Buffer.from(directory), reasonOf(error));
  }
  return files;
}
