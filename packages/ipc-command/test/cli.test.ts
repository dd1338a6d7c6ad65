import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { command, defineCommands, serveCommands, unchecked } from '@spanwire/ipc-command';
import { createSocketServer } from '@spanwire/ipc-socket';
import { describe, expect, it, onTestFinished } from 'vitest';
import { formatValue, parseValue } from '../src/cli/json-text.ts';
import { run as runProgram } from '../src/cli/program.ts';
import { startFixture } from './support/fixture.ts';
import { addressOn, socketPath } from './support/place.ts';

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const withoutShm = new URL('fixtures/without-shm.mjs', import.meta.url).href;

/** Where a test is not about time, a busy machine has all of it: the default is what people wait for. */
function patient(parameters: readonly string[]): readonly string[] {
  const [, command = ''] = parameters;
  const limited = ['list', 'describe', 'call'].includes(command) && !parameters.includes('--timeout');
  return limited ? [...parameters, '--timeout', '300000'] : parameters;
}

/** Runs the program inside this process: a start of Node costs more than all it does. */
async function run(parameters: readonly string[], { people = false } = {}) {
  const [stdout, stderr] = [Object.assign(new PassThrough(), { isTTY: people }), new PassThrough()];
  const written = Promise.all([text(stdout), text(stderr)]);
  const code = await runProgram(patient(parameters), '1.2.3', { stdin: Readable.from([]), stdout, stderr });
  stdout.end();
  stderr.end();
  const [out, err] = await written;
  return { out, err, code };
}

/** Runs it as a shell would. */
async function shell(parameters: readonly string[], { input = '', nodeOptions = '' } = {}) {
  const env = { ...process.env, NODE_OPTIONS: nodeOptions };
  const child = spawn(process.execPath, [program, ...patient(parameters)], { stdio: 'pipe', env });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { out, err, code: code as number };
}

async function setUp(): Promise<string> {
  const address = socketPath();
  const server = await startFixture('server', address);
  void server.ask('serve');
  return address;
}

describe('spanwire-command', () => {
  it('lists what a server can do, with tabs for programs', async () => {
    const { out, err, code } = await shell([await setUp(), 'list']);
    expect({ err, code }).toEqual({ err: '', code: 0 });
    expect(out.split('\n')).toEqual([
      'add\tcall\tAdds two numbers',
      'echo\tcall\tSends bytes back',
      'fail\tcall\t',
      'lie\tcall\t',
      'push\tcall\t',
      'ticks\tstream\tCounts',
      'tocks\tstream\t',
      '',
    ]);
  });

  it('lists in columns, and prints over several lines, for people', async () => {
    const address = await setUp();
    const { out } = await run([address, 'list'], { people: true });
    expect(out.split('\n').slice(0, 3)).toEqual([
      'add    call    Adds two numbers',
      'echo   call    Sends bytes back',
      'fail   call',
    ]);
    const added = await run([address, 'call', 'add', '{"a": 5, "b": 3}'], { people: true });
    expect(added.out).toBe('{\n  "sum": 8\n}\n');
  });

  it('serves the whole definition as JSON, with JSON Schemas', async () => {
    const address = await setUp();
    const { hash, commands } = JSON.parse((await run([address, 'list', '--json'])).out);
    expect(hash).toMatch(/^[0-9a-f]{32}$/);
    expect(commands.add).toMatchObject({
      kind: 'call',
      description: 'Adds two numbers',
      request: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'] },
      response: { type: 'object', properties: { sum: { type: 'number' } } },
    });
    expect(commands.echo).toEqual({ kind: 'call', description: 'Sends bytes back' });
    expect(commands.lie.request).toBe(false);
    const one = JSON.parse((await run([address, 'describe', 'add', '--json'])).out);
    expect(one).toEqual({ name: 'add', ...commands.add });
  });

  it('describes a command for people', async () => {
    const address = await setUp();
    const add = await run([address, 'describe', 'add']);
    expect(add.code).toBe(0);
    expect(add.out).toMatch(/^add \(call\)\nAdds two numbers\n\npayload:\n {2}\{\n/);
    expect(add.out).toContain('"required": [');
    expect((await run([address, 'describe', 'lie'])).out).toContain('payload: none\n');
    expect((await run([address, 'describe', 'echo'])).out).toContain('answer: the server has no JSON Schema of it\n');
    const unknown = await run([address, 'describe', 'subtract']);
    expect(unknown).toMatchObject({ out: '', code: 5 });
    expect(unknown.err).toContain('ERR_IPC_UNSUPPORTED');
  });

  it('calls a command and prints its answer on one line, or nothing where there is nothing', async () => {
    const address = await setUp();
    expect(await run([address, 'call', 'add', '{"a": 5, "b": 3}'])).toEqual({ out: '{"sum":8}\n', err: '', code: 0 });
    expect(await shell([address, 'call', 'add', '-'], { input: '{"a": 1, "b": 1}' })).toMatchObject({
      out: '{"sum":2}\n',
      code: 0,
    });
    expect(await run([address, 'call', 'push', '{"x": 7}'])).toMatchObject({ out: '1\n', code: 0 });
  });

  it('passes what JSON lacks, and prints it raw on request', async () => {
    const address = await setUp();
    const bytes = '{"$bytes":"aGVsbG8="}';
    expect((await run([address, 'call', 'echo', bytes])).out).toBe(`${bytes}\n`);
    expect((await shell([address, 'call', 'echo', bytes, '--raw'])).out).toBe('hello');
    expect((await run([address, 'call', 'echo', '"hello"', '--raw'])).out).toBe('hello\n');
    for (const value of [{ at: new Date(5), big: 7n, list: [Uint8Array.of(1)], nothing: null }, 'text', 5, true, []]) {
      expect(parseValue(formatValue(value, 0))).toEqual(value);
    }
    const odd = [NaN, Infinity, -Infinity, new Date(NaN)];
    expect(parseValue(formatValue(odd, 0))).toEqual(odd);
    expect((await run([address, 'call', 'echo', formatValue(odd, 0)])).out).toBe(
      '[{"$number":"NaN"},{"$number":"Infinity"},{"$number":"-Infinity"},{"$date":null}]\n',
    );
    expect(parseValue('{"$number":"7"}')).toEqual({ $number: '7' });
    expect(formatValue(undefined, 0)).toBe('null');
    expect(() => parseValue('{"$date":"never"}')).toThrow('Expected a date');
    expect(() => parseValue('{"$bytes":"a!b"}')).toThrow('Expected bytes in base64, got a!b');
    for (const digits of ['', '1.5', '0x1']) {
      expect(() => parseValue(`{"$bigint":"${digits}"}`)).toThrow('Expected the digits of an integer');
    }
  });

  it('watches a stream, one line per item, until its end or its count', async () => {
    const address = await setUp();
    expect(await run([address, 'watch', 'ticks', '{"count": 3}'])).toEqual({ out: '0\n1\n2\n', err: '', code: 0 });
    const counted = await run([address, 'watch', 'ticks', '{"count": 1000000}', '--count', '2']);
    expect(counted).toEqual({ out: '0\n1\n', err: '', code: 0 });
  });

  it('stops quietly when nobody reads on, as with head', async () => {
    const child = spawn(process.execPath, [program, await setUp(), 'watch', 'ticks', '{"count": 1000000}'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    expect({ err, code }).toEqual({ err: '', code: 0 });
  });

  it('says what is wrong with a payload, place by place, with exit code 5', async () => {
    const { out, err, code } = await run([await setUp(), 'call', 'add', '{"a": "1"}']);
    expect({ out, code }).toEqual({ out: '', code: 5 });
    expect(err).toMatch(/^spanwire-command: ERR_IPC_PROTOCOL: Expected a valid payload of "add", got a: .*; b: /);
    expect(err).toMatch(/\n {2}a: .*\n {2}b: .*\n$/);
  });

  it('tells failures apart by its exit code', async () => {
    const address = await setUp();
    const failed = await shell([address, 'call', 'fail', '"on purpose"']);
    expect(failed).toMatchObject({ out: '', err: 'spanwire-command: ERR_IPC_REMOTE: on purpose\n', code: 1 });
    expect(await run([address, 'call', 'lie'])).toMatchObject({ out: '', code: 1 });
    expect(await run([address, 'call', 'subtract'])).toMatchObject({ out: '', code: 5 });
    expect(await run([address, 'watch', 'add', '{"a": 1}'])).toMatchObject({ out: '', code: 5 });
    const nobody = await run([`${address}-none`, 'list']);
    expect(nobody).toMatchObject({ out: '', code: 3 });
    expect(nobody.err).toContain('ERR_IPC_PEER_GONE');
  });

  it('gives up after --timeout on a server that does not look, with exit code 4', async () => {
    const address = socketPath();
    await startFixture('server', address);
    const { out, err, code } = await run([address, 'call', 'add', '{"a": 1, "b": 2}', '--timeout', '50']);
    expect({ out, code }).toEqual({ out: '', code: 4 });
    expect(err).toContain('ERR_IPC_TIMEOUT');
  });

  it('counts connecting into --timeout, where somebody takes the connection and says nothing', async () => {
    const path = socketPath();
    const mute = createServer();
    await new Promise<void>((resolve) => mute.listen(path, resolve));
    onTestFinished(() => void mute.close());
    const { out, err, code } = await run([path, 'list', '--timeout', '20']);
    expect({ out, code }).toEqual({ out: '', code: 4 });
    // No hello, or, where this process sleeps just then, not even the news that it is connected.
    expect(err).toMatch(/^spanwire-command: ERR_IPC_TIMEOUT: .* within 20 ms/);
  });

  it('says that a stream is to be watched when it is called', async () => {
    const { out, err, code } = await run([await setUp(), 'call', 'ticks', '{"count": 1}']);
    expect({ out, code }).toEqual({ out: '', code: 1 });
    expect(err).toContain('Expected "ticks" to have one answer, got a stream of items: use watch');
  });

  it('lets nothing that a server says steer a terminal, or pass for another line', async () => {
    const address = socketPath();
    const hostile = 'red \u001b[31m\u009b31m\nline';
    const evil = command({ response: unchecked<unknown>(), description: hostile });
    const definition = defineCommands({ evil: { ...evil, requestJsonSchema: { title: hostile } }, fail: command() });
    const handlers = {
      evil: () => hostile,
      fail: () => {
        throw new Error(hostile);
      },
    };
    const server = createSocketServer(address);
    serveCommands(server, definition, handlers, undefined);
    await server.listen();
    onTestFinished(() => server.close());
    const printed = [];
    for (const parameters of [
      ['list'],
      ['list', '--json'],
      ['describe', 'evil'],
      ['describe', 'evil', '--json'],
      ['call', 'evil'],
      ['call', 'fail'],
    ]) {
      printed.push(await run([address, ...parameters]));
      expect(`${printed.at(-1)!.out}${printed.at(-1)!.err}`).not.toMatch(/[^\P{Cc}\t\n]/u);
    }
    expect(printed[0]!.out).toBe('evil\tcall\tred  [31m 31m line\nfail\tcall\t\n');
    // The answer is what it was, all the same.
    expect(JSON.parse(printed[4]!.out)).toBe(hostile);
    expect(printed[5]!.err).toBe('spanwire-command: ERR_IPC_REMOTE: red  [31m 31m line\n');
  });

  it('refuses arguments that make no sense with exit code 2, and sends nothing', async () => {
    const address = `${socketPath()}-nobody`;
    for (const [parameters, message] of [
      [['list'], 'Expected an address before the command'],
      [['list', address], 'Expected an address before the command, got list first'],
      [[address, 'call', 'add', '{"a": 5'], 'Expected the payload to be JSON'],
      [[address, 'call', 'add', '{}', '--timeout', 'soon'], 'Expected milliseconds'],
      [[address, 'watch', 'ticks', '--count', '0'], 'Expected an integer from 1'],
      [[address, 'call'], "missing required argument 'command'"],
      [[address, 'dance'], "unknown command 'dance'"],
      [['ftp://host', 'list'], 'Expected `address` to be'],
    ] as const) {
      const { out, err, code } = await run(parameters);
      expect({ out, code }).toEqual({ out: '', code: 2 });
      expect(err).toContain(message);
    }
  });

  it('explains itself', async () => {
    const help = await run(['--help']);
    expect(help).toMatchObject({ err: '', code: 0 });
    for (const word of ['list', 'describe', 'call', 'watch', 'Exit codes:']) expect(help.out).toContain(word);
    for (const asked of [
      ['help', 'watch'],
      ['watch', '--help'],
      [socketPath(), 'watch', '-h'],
    ]) {
      expect((await run(asked)).out).toContain('--count <n>');
    }
    for (const limited of ['list', 'describe', 'call']) {
      expect((await run([limited, '--help'])).out).toMatch(/default:\s+5000/);
    }
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    expect(await shell(['--version'])).toEqual({ out: `${version}\n`, err: '', code: 0 });
    expect(await run([])).toMatchObject({ out: '', code: 2 });
  });

  it.runIf(process.platform === 'linux')('talks to a server over shared memory', async () => {
    const address = addressOn('shm');
    const server = await startFixture('server', address);
    void server.ask('serve');
    expect(await shell([address, 'call', 'add', '{"a":5,"b":3}'])).toEqual({ out: '{"sum":8}\n', err: '', code: 0 });
    expect((await shell([address, 'watch', 'ticks', '{"count":3}'])).out).toBe('0\n1\n2\n');
  });

  it('says which package a shared-memory address lacks, where it is not installed', async () => {
    const { out, err, code } = await shell([addressOn('shm'), 'list'], { nodeOptions: `--import=${withoutShm}` });
    expect({ out, code }).toEqual({ out: '', code: 3 });
    expect(err).toContain('ERR_IPC_NATIVE_UNAVAILABLE');
    expect(err).toContain('need the package @spanwire/ipc-shm-native');
  });
});
