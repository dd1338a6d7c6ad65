// What both sides of stack.mjs know.
import { command, defineCommands } from '@spanwire/ipc-command';
import { z } from 'zod';

const u64 = z.number().int().nonnegative();

export const commands = defineCommands({
  print: command({ request: z.object({ payload: z.string() }), description: 'Prints a text at the server' }),
  add: command({
    request: z.object({ a: u64, b: u64 }),
    response: z.object({ c: u64 }),
    description: 'Adds two numbers',
  }),
  push: command({
    request: z.object({ x: u64 }),
    response: z.object({ x: u64 }),
    description: 'Pushes a number onto the stack that the server keeps',
  }),
});
