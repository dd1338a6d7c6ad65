/**
 * One client, a process of its own: `node client.js NUMBER CHECKSUMS FILES`. It asks the server at the address FILES for a file to
 * check, sends it piece by piece to the one at CHECKSUMS, hashes it itself, and says what came of it when it asks for the next.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { IpcError, type IpcClient } from '@spanwire/ipc-core';
import { bytesOf, NOTHING, PIECE_BYTES, PROGRESS_BYTES, reasonOf, type Report } from './protocol.ts';
import { createClient } from './transport.ts';

const [number = '', checksumsAddress = '', filesAddress = ''] = process.argv.slice(2);
const buffer = new Uint8Array(PIECE_BYTES);

try {
  await checkFiles();
} catch (error) {
  console.error(`Client ${number}: ${reasonOf(error)}`);
  process.exitCode = 1;
}

async function checkFiles(): Promise<void> {
  await using checksums = createClient(checksumsAddress);
  await using files = createClient(filesAddress, { hello: bytesOf(number) });
  await checksums.connect();
  await files.connect();

  const sayHowFar = (bytes: number): unknown => files.trySend(bytesOf(String(bytes)));
  let path = await files.request(NOTHING);
  while (path.byteLength > 0) {
    const report = await check(path, checksums, sayHowFar);
    path = await files.request(bytesOf(JSON.stringify(report)));
  }
}

async function check(path: Uint8Array, checksums: IpcClient, sayHowFar: (bytes: number) => void): Promise<Report> {
  const hash = createHash('sha256');
  let bytes = 0;
  let error: unknown;
  try {
    await using file = await open(Buffer.from(path));
    const read = async (): Promise<Uint8Array> => buffer.subarray(0, (await file.read(buffer)).bytesRead);
    let piece = await read();
    while (piece.byteLength > 0) {
      hash.update(piece);
      bytes += piece.byteLength;
      if (bytes % PROGRESS_BYTES === 0) sayHowFar(bytes);
      // request() has taken the piece when it returns, so the next one can be read into its place while the server works.
      [, piece] = await Promise.all([checksums.request(piece), read()]);
    }
  } catch (failure) {
    // A file may fail. A server that is gone is the end.
    if (failure instanceof IpcError) throw failure;
    error = failure;
  }
  // After a failure too: it is what makes the server start afresh.
  const answer = await checksums.request(NOTHING);
  if (error !== undefined) return { error: reasonOf(error) };
  const sha256 = Buffer.from(answer).toString('hex');
  return { bytes, sha256, matches: sha256 === hash.digest('hex') };
}
