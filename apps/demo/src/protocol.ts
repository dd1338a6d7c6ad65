/** What the processes of the demo agree on. */

/** A file travels in requests of at most this size. */
export const PIECE_BYTES: number = 64 * 1024;

/** How much of a large file a client sends from one sign of life to the next; a multiple of {@link PIECE_BYTES}. */
export const PROGRESS_BYTES: number = 16 * PIECE_BYTES;

/** To the checksum server: the file is complete. To the file server: no outcome yet. From it: no file is left. */
export const NOTHING: Uint8Array = new Uint8Array(0);

/** What came of one file, as JSON. */
export type Report =
  | { readonly error: string }
  | { readonly bytes: number; readonly sha256: string; readonly matches: boolean };

export function bytesOf(text: string): Uint8Array {
  return Buffer.from(text);
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

/** `ENOENT: no such file or directory, open '/a/b'` without the call and the path, which its reader knows. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /^E[A-Z]+: [^,]+/.exec(message)?.[0] ?? message;
}
