/**
 * The file that a Unix socket is bound to. It is bound under a private name in a directory of its own (mode 0700), gets its mode there, and
 * is then linked to its final name: at no moment can anybody else connect, and of two servers only one gets the name.
 */
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  unlinkSync,
  type BigIntStats,
} from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { IpcError, SystemError } from '@spanwire/ipc-core';
import { expectPathFits } from './address.ts';
import { lockDirectory } from './directory-lock.ts';
import { errnoOf } from './system-errors.ts';

const PRIVATE_PREFIX = '.spw-';
const PRIVATE_NAME = /^\.spw-[A-Za-z0-9]{6}$/;
const BOUND_NAME = 's';
const STALE_NAME = 'stale';
/** How long `remove` waits for another server that is about to take the name. */
const REMOVE_LOCK_MS = 1_000;
/** Two servers without a common lock can take turns in getting ahead of a third; not for ever. */
const MAX_TRIES = 8;

/** A name that is ours. */
export interface SocketFile {
  /** Removes the name, unless somebody else's socket is there by now. To be called before the listening socket closes. */
  remove(): Promise<void>;
}

export interface BindOptions {
  /** Binds and listens on `privatePath`. */
  readonly listenAt: (privatePath: string) => Promise<void>;
  readonly timeoutMs: number;
  /** Asks the server that lives on the address to leave; undefined: its address is in use. */
  readonly takeOver: (() => Promise<{ confirm(): Promise<void>; abandon(): void }>) | undefined;
}

/** Throws RangeError when the private name of a server on `path` does not fit. */
export function expectPrivatePathFits(path: string): void {
  expectPathFits('the private path beside `address`', join(dirname(path), `${PRIVATE_PREFIX}XXXXXX`, BOUND_NAME));
}

/** Binds a socket and gives it the name `path`. Rejects with ERR_IPC_ADDRESS_IN_USE, or as the file system does. */
export async function bindSocketFile(path: string, options: BindOptions): Promise<SocketFile> {
  const directory = dirname(path);
  if (statSync(directory, { throwIfNoEntry: false }) === undefined) {
    throw new SystemError('stat', 'ENOENT', `Expected the directory of unix:${path} to exist`);
  }
  const lock = await lockDirectory(directory, options.timeoutMs);
  try {
    await removeLeftovers(directory);
    const privateDirectory = mkdtempSync(join(directory, PRIVATE_PREFIX));
    try {
      const bound = join(privateDirectory, BOUND_NAME);
      await options.listenAt(bound);
      chmodSync(bound, 0o600);
      const own = lstatSync(bound, { bigint: true });
      await claimName(path, bound, options);
      return { remove: () => removeOwn(path, own) };
    } finally {
      // From here on the final name is the only one. The listening socket would remove the private one again when it closes: no matter.
      rmSync(privateDirectory, { recursive: true, force: true });
    }
  } finally {
    lock.release();
  }
}

async function claimName(path: string, bound: string, options: BindOptions): Promise<void> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const there = statOf(path);
    if (there === undefined) {
      if (tryLink(bound, path)) return;
    } else if (!there.isSocket()) {
      throw new IpcError(
        'ERR_IPC_ADDRESS_IN_USE',
        `Expected a socket or nothing at ${path}, got ${nameOfKind(there)}: it is left alone`,
      );
    } else if (!(await isAlive(path))) {
      removeStale(path, there, join(dirname(bound), STALE_NAME));
    } else if (options.takeOver === undefined) {
      throw new IpcError('ERR_IPC_ADDRESS_IN_USE', `Another server listens on unix:${path}`);
    } else if (await takeOver(path, bound, options.takeOver)) {
      return;
    }
  }
  throw new IpcError('ERR_IPC_ADDRESS_IN_USE', `Other servers keep taking unix:${path}`);
}

/** False: the server left meanwhile, so look again. */
async function takeOver(path: string, bound: string, request: NonNullable<BindOptions['takeOver']>): Promise<boolean> {
  let takeover: Awaited<ReturnType<typeof request>>;
  try {
    takeover = await request();
  } catch (error) {
    if (error instanceof IpcError && error.code === 'ERR_IPC_PEER_GONE') return false;
    throw error;
  }
  try {
    renameSync(bound, path);
  } catch (error) {
    takeover.abandon();
    throw error;
  }
  await takeover.confirm();
  return true;
}

/** Whether anybody accepts connections on `path`. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error) => {
      // A full queue (EAGAIN) and a lack of permission are signs of life, too: in doubt the name is left alone.
      const errno = errnoOf(error);
      resolve(errno !== 'ECONNREFUSED' && errno !== 'ENOENT');
    });
  });
}

/** Removes the dead socket that was seen at `path`: moved away first, so that what was moved can be looked at before it is gone. */
function removeStale(path: string, seen: BigIntStats, away: string): void {
  try {
    renameSync(path, away);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  const moved = lstatSync(away, { bigint: true });
  // Only without a common lock: somebody put a new socket there meanwhile. Give the name back.
  if (!isSame(moved, seen)) tryLink(away, path);
  unlinkSync(away);
}

async function removeOwn(path: string, own: BigIntStats): Promise<void> {
  // Under the lock, so that nobody renames a socket over the name between the look and the removal.
  const lock = await lockDirectory(dirname(path), REMOVE_LOCK_MS).catch(() => undefined);
  try {
    const there = statOf(path);
    if (there !== undefined && isSame(there, own)) unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  } finally {
    lock?.release();
  }
}

/** Removes private directories of servers that died while they started. Nobody else starts in this directory now. */
async function removeLeftovers(directory: string): Promise<void> {
  const uid = process.getuid?.();
  for (const name of readdirSync(directory)) {
    if (!PRIVATE_NAME.test(name)) continue;
    const path = join(directory, name);
    const stats = statOf(path);
    if (stats === undefined || !stats.isDirectory() || (uid !== undefined && stats.uid !== BigInt(uid))) continue;
    const entries = readdirSync(path);
    if (entries.some((entry) => entry !== BOUND_NAME && entry !== STALE_NAME)) continue;
    if (entries.includes(BOUND_NAME) && (await isAlive(join(path, BOUND_NAME)))) continue;
    try {
      for (const entry of entries) unlinkSync(join(path, entry));
      rmdirSync(path);
    } catch {
      // Somebody is busy with it after all.
    }
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function statOf(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false });
}

function isSame(a: BigIntStats, b: BigIntStats): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function nameOfKind(stats: BigIntStats): string {
  if (stats.isFile()) return 'a regular file';
  if (stats.isDirectory()) return 'a directory';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return 'something else';
}
