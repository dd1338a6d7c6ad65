// @ts-check
/** Servers and clients in Bun, which aborts a process that touches libuv, and in Node: each with each, in processes of their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const runtimes = { node: process.execPath, bun: 'bun' };
const folder = mkdtempSync(join(tmpdir(), 'spanwire-bun-'));
const address = `shm:${join(folder, 'bun.sock')}`;

/** A watchdog against hangs. */
const WATCHDOG_MS = 300_000;

/** @param {string} runtime @param {string} program */
function start(runtime, program) {
  const file = fileURLToPath(new URL(program, import.meta.url));
  return spawn(runtime, [file, address], { stdio: ['ignore', 'pipe', 'inherit'], timeout: WATCHDOG_MS });
}

try {
  for (const [serverIn, serverRuntime] of Object.entries(runtimes)) {
    for (const [clientIn, clientRuntime] of Object.entries(runtimes)) {
      if (serverIn === 'node' && clientIn === 'node') continue;
      const server = start(serverRuntime, 'server.mjs');
      const ended = once(server, 'exit');
      await Promise.race([once(server.stdout, 'data'), ended]);
      const [clientCode, clientSignal] = await once(start(clientRuntime, 'client.mjs'), 'exit');
      server.kill('SIGTERM');
      const [serverCode, serverSignal] = await ended;
      const fine = clientCode === 0 && serverCode === 0;
      process.stdout.write(`${fine ? 'ok' : 'not ok'} - a server in ${serverIn}, a client in ${clientIn}\n`);
      if (fine) continue;
      process.stdout.write(`client: ${clientSignal ?? clientCode}, server: ${serverSignal ?? serverCode}\n`);
      process.exitCode = 1;
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
