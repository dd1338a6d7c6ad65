// What the game and its visitors know.
import { command, defineCommands, streamCommand } from '@spanwire/ipc-command';
import { z } from 'zod';

const position = z.object({ x: z.number(), y: z.number() });

export const commands = defineCommands({
  move: command({
    request: z.object({ body: z.number().int().min(0).max(1999), by: position }),
    response: position,
    description: 'Moves one body, and says where it is now',
  }),
  frames: streamCommand({
    response: z.object({ frame: z.number().int(), ms: z.number() }),
    description: 'The number and the duration of each frame',
  }),
});
