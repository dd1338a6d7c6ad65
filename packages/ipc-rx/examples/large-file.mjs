// @ts-check
// A process streams a large file to a slow reader in another process. The reader's pace reaches the disk: neither process holds more than a few windows.
import { fork } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { fromReadable, serve, toReadable } from '@spanwire/ipc-rx';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';

const CHUNK = 64 * 1024;
const [role, address = ''] = process.argv.slice(2);

/** Memory of this process that is in use, at most, since `start`. */
function watchMemory() {
  let startBytes = process.memoryUsage().rss;
  let mostBytes = 0;
  const look = () => (mostBytes = Math.max(mostBytes, process.memoryUsage().rss));
  setInterval(look, 5).unref();
  return {
    start: () => (startBytes = mostBytes = process.memoryUsage().rss),
    growthBytes: () => look() - startBytes,
  };
}

if (role === 'server') {
  const memory = watchMemory();
  let readBytes = 0;
  const server = createSocketServer(address);
  serve(server, (_clientId, request) => {
    const path = Buffer.from(request).toString();
    if (path === 'stats') return Buffer.from(JSON.stringify({ readBytes, growthBytes: memory.growthBytes() }));
    memory.start();
    const file = createReadStream(path, { highWaterMark: CHUNK });
    file.on('data', (chunk) => (readBytes += chunk.length)).pause();
    return fromReadable(file);
  });
  await server.listen();
  process.send?.('ready');
} else {
  const mib = Number(process.argv[2] ?? 256);
  const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
  const path = join(folder, 'large');
  const original = createHash('sha256');
  const file = await open(path, 'w');
  for (let i = 0; i < mib; i++) {
    const block = randomFillSync(new Uint8Array(1024 * 1024));
    original.update(block);
    await file.write(block);
  }
  await file.close();

  const child = fork(fileURLToPath(import.meta.url), ['server', `unix:${folder}/s`]);
  await once(child, 'message');
  const client = createSocketClient(`unix:${folder}/s`);
  await client.connect();
  const stats = async () => JSON.parse(Buffer.from(await client.request(Buffer.from('stats'))).toString());

  const memory = watchMemory();
  memory.start();
  const received = createHash('sha256');
  let receivedBytes = 0;
  let mostAheadBytes = 0;
  for await (const chunk of toReadable(client.request$(Buffer.from(path)))) {
    received.update(chunk);
    receivedBytes += chunk.length;
    if (receivedBytes % (8 * 1024 * 1024) < CHUNK) {
      // The slow reader: it stops for a moment, and looks how far ahead the other process has read meanwhile.
      await setTimeout(20);
      mostAheadBytes = Math.max(mostAheadBytes, (await stats()).readBytes - receivedBytes);
    }
  }
  const { growthBytes } = await stats();
  console.log(
    JSON.stringify({
      fileBytes: mib * 1024 * 1024,
      receivedBytes,
      sameHash: received.digest('hex') === original.digest('hex'),
      mostAheadBytes,
      serverGrowthBytes: growthBytes,
      clientGrowthBytes: memory.growthBytes(),
    }),
  );
  await client.close();
  child.kill();
  await rm(folder, { recursive: true, force: true });
}
