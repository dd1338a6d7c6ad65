import { createShmClient } from '@spanwire/ipc-shm-native';
import { Buffer } from 'node:buffer';

const client = createShmClient(process.argv[2] ?? '');
await client.connect();
for (let size = 0; size < 5_000_000; size = size * 2 + 1) {
  const message = Buffer.alloc(size, size & 0xff);
  const answer = await client.request(message);
  if (!message.equals(answer)) throw new Error(`Expected ${size} bytes back as they were`);
}
await Promise.all(Array.from({ length: 1_000 }, (_, i) => client.request(new Uint8Array(i))));
await client.close();
