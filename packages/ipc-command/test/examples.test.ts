import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addressOn, transports } from './support/place.ts';

function start(name: string, ...parameters: string[]) {
  const path = fileURLToPath(new URL(`../examples/${name}.mjs`, import.meta.url));
  const child = spawn(process.execPath, [path, ...parameters], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function outputOf(child: ChildProcess & { stdout: NodeJS.ReadableStream }): Promise<string> {
  const [out, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  expect(code).toBe(0);
  return out;
}

describe.each(transports)('the stack example over %s', (transport) => {
  it('prints, adds and pushes as its original does, once per poll', async () => {
    const address = addressOn(transport);
    const server = start('stack', 'server', '--address', address, '--every', '10');
    const lines = createInterface(server.stdout)[Symbol.asyncIterator]();
    const nextLine = async () => (await lines.next()).value as unknown;
    expect(await nextLine()).toBe(`listening on ${address}`);
    const client = (...command: string[]) => outputOf(start('stack', 'client', '--address', address, ...command));

    expect(await client('print', 'hello there')).toBe(
      "sent command: print { payload: 'hello there' }\nreceived response: ack\n",
    );
    expect(await nextLine()).toBe('Print command received: hello there');
    expect(await client('add', '5', '3')).toBe('sent command: add { a: 5, b: 3 }\nreceived response: { c: 8 }\n');
    expect(await nextLine()).toBe('Add command received: 5 + 3 = 8');
    expect(await client('push', '69')).toBe('sent command: push { x: 69 }\nreceived response: { x: 69 }\n');
    expect(await nextLine()).toBe('Push command received: 69');

    const ended = once(server, 'exit');
    server.kill('SIGTERM');
    expect(await nextLine()).toBe('stack: [ 69 ]');
    await ended;
  });
});

describe.each(transports)('the game loop example over %s', (transport) => {
  it('plays all its frames alone and with visitors, and lets in commands only then', async () => {
    const game = start('game-loop', '--address', addressOn(transport), '--frames', '30', '--json');
    const { frames, alone, visited } = JSON.parse(await outputOf(game));
    expect(frames).toBe(30);
    expect(alone.handled).toBe(0);
    expect(visited.handled).toBeGreaterThan(0);
    for (const played of [alone, visited]) {
      expect(played.seconds).toBeGreaterThanOrEqual(29 / 60);
      expect(played.frameMs.p50).toBeLessThanOrEqual(played.frameMs.p99);
      expect(played.frameMs.p99).toBeLessThanOrEqual(played.frameMs.max);
    }
  });
});
