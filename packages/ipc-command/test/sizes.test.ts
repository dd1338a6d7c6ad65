import { createCommandClient } from '@spanwire/ipc-command';
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { commands } from './fixtures/commands.mjs';
import { startFixture } from './support/fixture.ts';
import { addressOn, transports } from './support/place.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** What the msgpack around the bytes takes. */
const AROUND = 12;

describe.each(transports)('messages between processes over %s', (transport) => {
  it.each([1, 2, 1000, 1023, 1024, 1025, 64 * KiB, 256 * KiB - AROUND, 256 * KiB, MiB, 5 * MiB + 1, 32 * MiB])(
    'of %i bytes come back whole',
    async (bytes) => {
      const address = addressOn(transport);
      const server = await startFixture('server', address);
      void server.ask('serve');
      await using client = createCommandClient(commands, address);
      const sent = new Uint8Array(randomBytes(bytes));
      const back = await client.echo(sent);
      expect(back.byteLength).toBe(bytes);
      expect(sha256(back)).toBe(sha256(sent));
    },
  );

  it('that are larger than a side takes reject that call alone', async () => {
    const address = addressOn(transport);
    const server = await startFixture('server', address);
    void server.ask('serve');
    await using client = createCommandClient(commands, address, { maxMessageBytes: MiB });
    await expect(client.echo(new Uint8Array(MiB))).rejects.toMatchObject({ code: 'ERR_IPC_MESSAGE_TOO_LARGE' });
    await using other = createCommandClient(commands, address);
    await expect(other.echo(new Uint8Array(65 * MiB))).rejects.toMatchObject({ code: 'ERR_IPC_MESSAGE_TOO_LARGE' });
    expect(await other.add({ a: 1, b: 2 })).toEqual({ sum: 3 });
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
