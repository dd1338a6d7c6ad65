import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('../test-native', import.meta.url));

/** Builds and runs the C++ tests under one sanitizer, and returns what they printed. Throws it when they fail. */
async function run(sanitizer: 'asan' | 'tsan'): Promise<string> {
  const child = spawn('make', ['--silent', '--jobs=2', `--directory=${folder}`, sanitizer], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const [code] = (await once(child, 'close')) as [unknown];
  if (code !== 0) throw new Error(`make ${sanitizer} ended with ${String(code)}:\n${output}`);
  return output;
}

test('the C++ tests pass under the address and undefined-behaviour sanitizers', { timeout: 900_000 }, async () => {
  expect(await run('asan')).toMatch(/^\d{2,} tests, 0 failed$/m);
});

test('the C++ tests pass under the thread sanitizer', { timeout: 900_000 }, async () => {
  expect(await run('tsan')).toMatch(/^\d{2,} tests, 0 failed$/m);
});
