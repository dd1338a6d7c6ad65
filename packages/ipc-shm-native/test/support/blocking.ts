/** What tests of the blocking form share: a server in a process of its own, and clients of both kinds. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { IpcError, type IpcClient } from '@spanwire/ipc-core';
import { onTestFinished } from 'vitest';
import {
  createShmClient,
  createShmSyncClient,
  type ShmServerOptions,
  type ShmSyncClient,
  type ShmSyncClientOptions,
} from '../../src/index.ts';
import { start, type Child } from './children.ts';
import { eventually } from './eventually.ts';
import { makeDirectory } from './place.ts';
import { untilStopped } from './process.ts';

/** Small, so that everything happens soon. */
export const ring = 8192;
/** Where something changes: whole and in fragments, one ring and several of it. */
export const sizes: readonly number[] = [
  0, 1, 7, 8, 9, 63, 64, 65, 2032, 2039, 2040, 2041, 2048, 2049, 4088, 8183, 8184, 8185, 8192, 8193,
].concat([3 * ring, 100_003, 1_000_001]);

export interface Serving {
  readonly server: Child;
  readonly address: string;
  readonly path: string;
  /** The next thing it says that has this field. */
  readonly next: (field: 'came' | 'left' | 'message' | 'threw') => Promise<Record<string, unknown>>;
  /** Resolves when it says that. */
  readonly says: (text: string) => Promise<void>;
  /** Resolves when it has ended. */
  readonly over: () => Promise<void>;
  /** Resolves once the handler of `wish('W', number)` has begun; it goes on when it is let. */
  readonly begun: (number: number) => Promise<void>;
  /** Lets the handler of `wish('W', number)` answer: at once, or when it comes. */
  readonly open: (number: number) => void;
}

/** Where it serves, and how: see the fixture. */
export interface Manner {
  readonly onLoop?: boolean;
  readonly onMain?: boolean;
  readonly handles?: NodeJS.Signals;
  readonly handler?: 'echo' | 'trace';
}

export async function serving(options: ShmServerOptions & Manner = {}): Promise<Serving> {
  const path = `${makeDirectory()}/s`;
  const address = `shm:${path}`;
  const { onLoop = false, onMain = false, handles, handler, ...own } = options;
  const gates = makeDirectory();
  const server = start('sync-server.mjs', { address, server: own, onLoop, onMain, handles, handler, gates });
  await eventually(() => existsSync(path), true);
  const next = async (field: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const said = await server.next<unknown>();
      if (typeof said === 'object' && said !== null && field in said) return said as Record<string, unknown>;
    }
  };
  const says = async (text: string): Promise<void> => {
    while ((await server.next<unknown>()) !== text);
  };
  return {
    server,
    address,
    path,
    next,
    says,
    over: () => says('over'),
    begun: (number) => eventually(() => existsSync(`${gates}/${number}.begun`), true),
    open: (number) => writeFileSync(`${gates}/${number}.open`, ''),
  };
}

export function blockingClient(address: string, options?: ShmSyncClientOptions): ShmSyncClient {
  const client = createShmSyncClient(address, options);
  onTestFinished(() => client.close());
  return client;
}

export async function loopClient(address: string): Promise<IpcClient> {
  const client = createShmClient(address);
  onTestFinished(() => client.close());
  await client.connect();
  return client;
}

export function codeOf(body: () => unknown): string {
  try {
    body();
    return 'no error';
  } catch (error) {
    return error instanceof IpcError ? error.code : String(error);
  }
}

/** A request that says what it wants with its first byte, and a number. */
export function wish(what: string, number = 0, bytes = 8): Uint8Array {
  const request = new Uint8Array(bytes);
  request[0] = what.charCodeAt(0);
  new DataView(request.buffer).setUint32(4, number, true);
  return request;
}

export function pattern(bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) data[i] = (i * 31 + (i >> 8)) & 0x3f;
  return data;
}

/** Stops a process, all threads of it: the signal is only the beginning of that. */
export function stopped(child: Child): Promise<void> {
  process.kill(child.pid, 'SIGSTOP');
  return untilStopped(child.pid);
}

/** CPU time of a process so far, in hundredths of a second. */
export function cpuTicksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}
