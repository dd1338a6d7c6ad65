import { command, defineCommands, streamCommand, unchecked } from '@spanwire/ipc-command';
import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';

const point = () => z.object({ x: z.number(), y: z.number() });

describe('the hash of a definition', () => {
  const base = defineCommands({ move: command({ request: point(), response: z.boolean() }), stop: command() });

  it('is the same for the same commands in another order', () => {
    const other = defineCommands({ stop: command(), move: command({ response: z.boolean(), request: point() }) });
    expect(other.hash).toBe(base.hash);
    expect(base.hash).toMatch(/^[0-9a-f]{32}$/);
  });

  it('does not change with descriptions', () => {
    const described = defineCommands({
      move: command({
        request: z.object({ x: z.number().describe('to the right'), y: z.number() }).describe('a point'),
        response: z.boolean(),
        description: 'Moves it',
      }),
      stop: command({ description: 'Stops it' }),
    });
    expect(described.hash).toBe(base.hash);
  });

  it('changes with every name, kind, payload, response and version', () => {
    const changed = [
      defineCommands({ go: command({ request: point(), response: z.boolean() }), stop: command() }),
      defineCommands({ move: streamCommand({ request: point(), response: z.boolean() }), stop: command() }),
      defineCommands({
        move: command({ request: point().extend({ z: z.number() }), response: z.boolean() }),
        stop: command(),
      }),
      defineCommands({ move: command({ request: point(), response: z.string() }), stop: command() }),
      defineCommands({
        move: command({ request: point(), response: z.boolean() }),
        stop: command({ request: z.string() }),
      }),
      defineCommands({ move: command({ request: point(), response: z.boolean() }), stop: command() }, { version: '2' }),
    ].map(({ hash }) => hash);
    expect(new Set([base.hash, ...changed]).size).toBe(changed.length + 1);
  });

  it('tells a property called "description" from a description', () => {
    const hashOf = (shape: z.ZodType) => defineCommands({ set: command({ request: shape }) }).hash;
    expect(hashOf(z.object({ description: z.string() }))).not.toBe(hashOf(z.object({ description: z.number() })));
    expect(hashOf(z.object({ description: z.string() }))).not.toBe(hashOf(z.object({})));
    expect(hashOf(z.enum(['title', 'description']))).not.toBe(hashOf(z.enum(['title'])));
  });

  it('is the same for libraries that say the same JSON Schema', () => {
    const zod = defineCommands({ set: command({ request: z.string() }) });
    const ark = defineCommands({ set: command({ request: type('string') }) });
    const valibot = defineCommands({ set: command({ request: v.string(), requestJsonSchema: { type: 'string' } }) });
    expect(ark.hash).toBe(zod.hash);
    expect(valibot.hash).toBe(zod.hash);
  });

  it('does not know the shape of what no library tells', () => {
    const one = defineCommands({ set: command({ request: unchecked<string>() }) });
    const other = defineCommands({ set: command({ request: v.number() }) });
    expect(one.hash).toBe(other.hash);
    expect(defineCommands({ set: command() }).hash).not.toBe(one.hash);
  });
});

describe('defineCommands', () => {
  it('refuses names that it cannot use', () => {
    const define = (name: string) => () => defineCommands({ [name]: command() });
    for (const name of ['', '$describe', '1st', 'a b', '__proto__x', 'a'.repeat(129)]) {
      expect(define(name)).toThrow('Expected the name of a command to be a letter');
    }
    for (const name of ['close', 'connect', 'then']) expect(define(name)).toThrow('none of close, connect, then');
    for (const name of ['constructor', 'toString', 'a.b-c_d']) expect(define(name)).not.toThrow();
  });

  it('refuses what is not made by command() or streamCommand()', () => {
    expect(() => defineCommands({ add: {} as never })).toThrow('Expected `add` to be made by command()');
    expect(() => defineCommands({ add: undefined as never })).toThrow(TypeError);
  });

  it('refuses schemas that are none', () => {
    expect(() => command({ request: { parse: () => 1 } as never })).toThrow(
      'Expected `request` to be a Standard Schema',
    );
    expect(() => command({ response: null as never })).toThrow('Expected `response` to be a Standard Schema, got null');
    expect(() => command({ description: 1 as never })).toThrow('Expected `description` to be a string');
  });

  it('keeps what it made', () => {
    const { definitions } = defineCommands({ add: command() });
    expect(Object.isFrozen(definitions)).toBe(true);
    expect(Object.isFrozen(definitions.add)).toBe(true);
  });
});
