/** One run: a server process, client processes, and the file server in this one. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Path } from './find-files.ts';
import { handOut } from './hand-out.ts';
import { ended, start } from './processes.ts';
import type { Tally } from './tally.ts';
import { addressOf, createServer } from './transport.ts';

const SERVER = new URL('./server.js', import.meta.url);
const CLIENT = new URL('./client.js', import.meta.url);
/** A server that starts at this very moment may still put a socket there. */
const REMOVAL = { recursive: true, force: true, maxRetries: 10 } as const;

/** Has `files` checked by a client for each share of `tally`, until all are done, `stop` aborts, or no client is left. */
export async function run(
  files: readonly Path[],
  transport: string,
  tally: Tally,
  stop: AbortSignal,
  onStart: (line: string) => void,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-demo-'));
  process.once('exit', () => rmSync(folder, REMOVAL));
  const checksumsAddress = addressOf(transport, folder, 'checksums');
  const filesAddress = addressOf(transport, folder, 'files');

  await using fileServer = createServer(filesAddress);
  handOut(fileServer, files, tally, stop);
  await fileServer.listen();

  const server = start(SERVER, [checksumsAddress]);
  await Promise.race([once(server.stdout, 'data'), ended(server)]);
  const clients = tally.shares.map((_share, i) => start(CLIENT, [String(i + 1), checksumsAddress, filesAddress]));
  onStart(`server: process ${server.pid}; clients: processes ${clients.map(({ pid }) => pid).join(', ')}`);

  const ends = await Promise.all(clients.map((client) => ended(client)));
  server.stdin.end();
  for (const [i, end] of ends.entries()) if (end !== undefined) tally.fail(`client ${i + 1}`, end);
  const end = await ended(server);
  if (end !== undefined) tally.fail('server', end);
}
