/**
 * A lock on a directory, for as long as a name in it is looked at, removed and made. The kernel frees it when its holder dies, and it
 * leaves nothing behind.
 *
 * - Linux: an abstract socket named after the directory. Whoever waits is connected to it and wakes when it goes.
 * - macOS and the BSDs: an exclusive `flock` on the directory itself. Untested.
 * - Elsewhere: none. `link()` still lets only one of two servers have a free name.
 *
 * The abstract namespace is one per network namespace, so containers that share a directory do not exclude each other. What is done under
 * the lock therefore checks inodes, too.
 */
import { closeSync, openSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { TimeoutError } from '@spanwire/ipc-core';
import { errnoOf } from './system-errors.ts';

export interface DirectoryLock {
  release(): void;
}

/** sun_path is filled to its end: Node 20 pads shorter abstract names with NULs, later ones do not, and both must mean the same. */
const SUN_PATH_BYTES = 108;
const FLOCK_PLATFORMS: ReadonlySet<string> = new Set(['darwin', 'freebsd', 'openbsd', 'netbsd']);
/** O_EXLOCK | O_NONBLOCK there; Node has no constant for the first. */
const LOCK_FLAGS: number = 0x20 | 0x4;
const POLL_MS = 10;

/** Takes the lock on `directory`, waiting for others. Rejects with ERR_IPC_TIMEOUT, or as `stat` does. */
export async function lockDirectory(directory: string, timeoutMs: number): Promise<DirectoryLock> {
  const deadline = AbortSignal.timeout(timeoutMs);
  const late = (): Error =>
    new TimeoutError(`Another process holds the lock on ${directory} for more than ${timeoutMs} ms`, timeoutMs);
  if (process.platform === 'linux') {
    const { dev, ino } = statSync(directory, { bigint: true });
    const name = `\0spanwire-lock-${dev}-${ino}`.padEnd(SUN_PATH_BYTES, '\0');
    for (;;) {
      const lock = await tryListen(name);
      if (lock !== undefined) return lock;
      if (deadline.aborted) throw late();
      await released(name, deadline);
    }
  }
  if (!FLOCK_PLATFORMS.has(process.platform)) return { release() {} };
  for (;;) {
    try {
      const descriptor = openSync(directory, LOCK_FLAGS);
      return { release: () => closeSync(descriptor) };
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') throw error;
    }
    if (deadline.aborted) throw late();
    await delay(POLL_MS);
  }
}

function tryListen(name: string): Promise<DirectoryLock | undefined> {
  return new Promise((resolve, reject) => {
    const waiting = new Set<Socket>();
    const server: Server = createServer((socket) => {
      waiting.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => waiting.delete(socket));
    });
    server.on('error', (error) => {
      if (errnoOf(error) === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ path: name, exclusive: true }, () => {
      resolve({
        release() {
          server.close();
          for (const socket of waiting) socket.destroy();
        },
      });
    });
  });
}

/** Resolves when the holder's socket goes, and also when it cannot be told: the caller tries again anyway. */
function released(name: string, deadline: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ path: name });
    let pauseMs = 0;
    const stop = (): void => void socket.destroy();
    deadline.addEventListener('abort', stop, { once: true });
    socket.on('error', (error) => {
      // Too many wait already: do not spin.
      if (errnoOf(error) === 'EAGAIN') pauseMs = POLL_MS;
    });
    socket.once('close', () => {
      deadline.removeEventListener('abort', stop);
      setTimeout(resolve, pauseMs);
    });
    socket.resume();
  });
}
