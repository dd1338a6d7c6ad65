// Traffic for game-loop.mjs: eight clients, each with 64 commands under way at any time, and one that watches the frames.
import { createCommandClient } from '@spanwire/ipc-command';
import { commands } from './game-loop-commands.mjs';

const CLIENTS = 8;
const UNDER_WAY = 64;

const address = process.argv[2] ?? '';
const clients = Array.from({ length: CLIENTS + 1 }, () => createCommandClient(commands, address));
await Promise.all(clients.map((client) => client.connect()));
process.once('SIGTERM', () => process.exit(0));
process.once('disconnect', () => process.exit(0));
process.send?.('connected');

const [watcher, ...movers] = clients;
watcher?.frames().subscribe({ error: () => process.exit(0) });
await Promise.all(
  movers.flatMap((client) =>
    Array.from({ length: UNDER_WAY }, async (_, body) => {
      for (;;) await client.move({ body, by: { x: 1, y: 0 } });
    }),
  ),
).catch(() => process.exit(0));
