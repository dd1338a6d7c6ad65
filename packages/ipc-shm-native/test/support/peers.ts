/** The programs of test-native/peers, built when they are asked for. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { encodeHello, helloOfClient, resolveClientOptions } from '@spanwire/ipc-core';

const run = promisify(execFile);
const sources = fileURLToPath(new URL('../../test-native/peers', import.meta.url));
const products = fileURLToPath(new URL('../../build/native-tests/peers', import.meta.url));

/** The path of a program of that name. */
export async function builtPeer(name: 'hostile' | 'mortal' | 'successor'): Promise<string> {
  mkdirSync(products, { recursive: true });
  // One build at a time: test files run side by side.
  await run('flock', [
    products,
    'make',
    '--silent',
    `--directory=${sources}`,
    `${products}/${name}`,
    `OUT=${products}`,
  ]);
  return `${products}/${name}`;
}

/** What a well-behaved client says first, in hexadecimal. */
export const clientHello: string = Buffer.from(encodeHello(helloOfClient(resolveClientOptions()))).toString('hex');

/** Resolves when a connection is over, however: who is dropped before it was heard is reset. */
export function ended(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve()));
}
