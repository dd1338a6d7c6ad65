/** Where a server meets its clients: a Unix socket in a directory that is the user's alone. */
import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { IpcError, SystemError } from '@spanwire/ipc-core';

const SCHEME = 'shm:';
/** What the kernel's socket addresses hold; a longer path would be cut. */
const MAX_PATH_BYTES = 107;

export interface Rendezvous {
  /** The address in its normal form, for messages. */
  readonly address: string;
  readonly path: string;
  /** The directory that a server makes and checks; undefined for a path that the caller chose. */
  readonly directory: string | undefined;
  /** Nobody named the directory: then clients check it, too, since others could have been there first. */
  readonly isDefault: boolean;
}

/** Reads `shm:name`, `name`, `shm:/absolute/socket/path` or such a path. Throws TypeError or RangeError. */
export function parseAddress(name: unknown, directory: unknown): Rendezvous {
  if (typeof name !== 'string') throw badName(typeof name);
  const rest = name.startsWith(SCHEME) ? name.slice(SCHEME.length) : name;
  if (isAbsolute(rest)) return { address: SCHEME + rest, path: fitting(rest), directory: undefined, isDefault: false };
  if (!/^[\w][\w.-]*$/.test(rest)) throw badName(JSON.stringify(name));
  if (directory !== undefined && (typeof directory !== 'string' || !isAbsolute(directory))) {
    throw new TypeError(`Expected \`directory\` to be an absolute path, got ${JSON.stringify(directory)}`);
  }
  const folder = directory ?? defaultDirectory();
  return {
    address: SCHEME + rest,
    path: fitting(join(folder, `${rest}.sock`)),
    directory: folder,
    isDefault: directory === undefined,
  };
}

/** Makes the directory and checks that nobody else can put anything into it. Throws {@link IpcError}. */
export function prepareDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new SystemError('mkdir', code, `Expected to make the directory ${directory}, got ${code}`, { cause });
  }
  checkDirectory(directory);
}

/** Throws ERR_IPC_UNAUTHORIZED where the default directory of `rendezvous` is not the user's alone. One that is not there is no danger. */
export function checkDefaultDirectory(rendezvous: Rendezvous): void {
  const { directory, isDefault } = rendezvous;
  if (isDefault && directory !== undefined && lstatSync(directory, { throwIfNoEntry: false }) !== undefined) {
    checkDirectory(directory);
  }
}

function checkDirectory(directory: string): void {
  const found = lstatSync(directory);
  const uid = process.getuid?.();
  if (!found.isDirectory() || (uid !== undefined && found.uid !== uid)) {
    throw new IpcError(
      'ERR_IPC_UNAUTHORIZED',
      `Expected ${directory} to be a directory of user ${uid}, got ${found.isDirectory() ? `one of user ${found.uid}` : 'something else'}`,
    );
  }
  if ((found.mode & 0o022) !== 0) {
    throw new IpcError(
      'ERR_IPC_UNAUTHORIZED',
      `Expected ${directory} to be writable by its user alone, got mode ${(found.mode & 0o777).toString(8)}`,
    );
  }
}

function defaultDirectory(): string {
  const runtime = process.env['XDG_RUNTIME_DIR'];
  if (runtime !== undefined && isAbsolute(runtime)) return join(runtime, 'spanwire');
  return join(tmpdir(), `spanwire-${process.getuid?.() ?? 'user'}`);
}

function fitting(path: string): string {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw new RangeError(`Expected a socket path of at most ${MAX_PATH_BYTES} bytes, got ${bytes}: ${path}`);
  }
  return path;
}

function badName(got: string): TypeError {
  return new TypeError(
    `Expected \`name\` to be "shm:name" of letters, digits, ".", "_" and "-", or "shm:/absolute/socket/path", got ${got}`,
  );
}
