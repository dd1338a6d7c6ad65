import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('../test-native', import.meta.url));

/** Under the thread sanitizer they run in `npm run verify`. */
test('the C++ tests pass under the address and undefined-behaviour sanitizers', { timeout: 900_000 }, async () => {
  const child = spawn('make', ['--silent', '--jobs=2', `--directory=${folder}`, 'asan'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const [code] = (await once(child, 'close')) as [unknown];
  if (code !== 0) throw new Error(`make asan ended with ${String(code)}:\n${output}`);
  expect(output).toMatch(/^\d{2,} tests, 0 failed$/m);
});
