// A server that keeps a stack and looks for commands once a second, and a client that sends one command:
//
//   node stack.mjs server
//   node stack.mjs client print "hello"
//   node stack.mjs client add 5 3
//   node stack.mjs client push 69
//
// Options of both: --address unix:/path (ipc-server.sock in the current folder). Of the server: --every MS (1000).
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect, parseArgs } from 'node:util';
import { clientSend, createCommandServer } from '@spanwire/ipc-command';
import { commands } from './stack-commands.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { address: { type: 'string', default: 'ipc-server.sock' }, every: { type: 'string', default: '1000' } },
});
const [mode, name, ...parameters] = positionals;
const say = (/** @type {string} */ line) => process.stdout.write(`${line}\n`);

if (mode === 'server') await serve(values.address, Number(values.every));
else if (mode === 'client') await send(values.address);
else say('Expected "server" or "client"');

/**
 * @param {string} address
 * @param {number} everyMs
 */
async function serve(address, everyMs) {
  const server = await createCommandServer(
    commands,
    {
      print: ({ payload }) => {
        say(`Print command received: ${payload}`);
      },
      add: ({ a, b }) => {
        const c = a + b;
        say(`Add command received: ${a} + ${b} = ${c}`);
        return { c };
      },
      push: ({ x }, /** @type {number[]} */ stack) => {
        say(`Push command received: ${x}`);
        stack.push(x);
        return { x };
      },
    },
    { address },
  );

  // The program's own state: what commands may work on, each time they are let.
  /** @type {number[]} */
  const stack = [];
  const stop = new AbortController();
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.once(signal, () => stop.abort());
  say(`listening on ${address}`);
  while (!stop.signal.aborted) {
    await server.handleNewMessages(stack);
    // Here the program does its other work.
    await sleep(everyMs);
  }
  await server.close();
  say(`stack: ${inspect(stack)}`);
}

/** @param {string} address */
async function send(address) {
  const [first = '', second = ''] = parameters;
  switch (name) {
    case 'print':
      return report({ payload: first }, await clientSend(commands, 'print', { payload: first }, address));
    case 'add': {
      const payload = { a: Number(first), b: Number(second) };
      return report(payload, await clientSend(commands, 'add', payload, address));
    }
    case 'push': {
      const payload = { x: Number(first) };
      return report(payload, await clientSend(commands, 'push', payload, address));
    }
    default:
      return say(`Expected ${Object.keys(commands.definitions).join(', ')}, got ${name}`);
  }
}

/**
 * @param {unknown} sent
 * @param {unknown} received
 */
function report(sent, received) {
  say(`sent command: ${name} ${inspect(sent)}`);
  say(`received response: ${received === undefined ? 'ack' : inspect(received)}`);
}
