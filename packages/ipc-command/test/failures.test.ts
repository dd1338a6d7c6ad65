import { command, defineCommands, streamCommand, unchecked, type Schema } from '@spanwire/ipc-command';
import { lastValueFrom, of } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { serve } from './support/serve.ts';

describe('a validator that throws', () => {
  const broken = (breaksOn: unknown, when: { armed: boolean }): Schema => ({
    '~standard': {
      version: 1,
      vendor: 'broken',
      validate: (value) => {
        if (when.armed && value === breaksOn) throw new Error('The validator broke');
        return { value };
      },
    },
  });

  it('fails the command at the client, and is told to this side, once', async () => {
    const when = { armed: true };
    const later: Schema = {
      '~standard': {
        version: 1,
        vendor: 'broken',
        validate: () => (when.armed ? Promise.reject(new Error('The validator broke')) : { value: undefined }),
      },
    };
    const definition = defineCommands({
      request: command({ request: broken('bad', when) }),
      response: command({ response: broken('bad', when) }),
      async: command({ response: later }),
      observable: streamCommand({ response: broken(2, when) }),
      iterable: streamCommand({ response: broken(2, when) }),
    });
    const { connect, failures } = await serve(definition, {
      request: () => undefined,
      response: () => 'bad',
      async: () => undefined,
      observable: () => of(1, 2, 3),
      async *iterable() {
        yield* [1, 2, 3];
      },
    });
    // A client that checks nothing itself.
    const careless = defineCommands({
      request: command({ request: unchecked<unknown>() }),
      response: command({ response: unchecked<unknown>() }),
      async: command({ response: unchecked<unknown>() }),
      observable: streamCommand({ response: unchecked<unknown>() }),
      iterable: streamCommand({ response: unchecked<unknown>() }),
    });
    const { client } = connect(careless, true);
    for (const call of [
      () => client.request('bad'),
      () => client.response(),
      () => client.async(),
      () => lastValueFrom(client.observable()),
      () => lastValueFrom(client.iterable()),
    ]) {
      await expect(call()).rejects.toMatchObject({ remote: { message: 'The validator broke' } });
    }
    expect(failures.map(({ command, error }) => [command, (error as Error).message])).toEqual(
      ['request', 'response', 'async', 'observable', 'iterable'].map((name) => [name, 'The validator broke']),
    );
    when.armed = false;
    expect(await client.response()).toBe('bad');
  });
});

describe('a failure that onFailure fails on', () => {
  it('reaches the client as it is, and the process is warned of the other', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warn.mockRestore());
    const definition = defineCommands({ fail: command() });
    const handlers = {
      fail: () => {
        throw new RangeError('too far');
      },
    };
    const { connect } = await serve(definition, handlers, () => {
      throw new Error('The log is full');
    });
    const { client } = connect(definition);
    await expect(client.fail()).rejects.toMatchObject({ remote: { name: 'RangeError', message: 'too far' } });
    expect(warn).toHaveBeenCalledExactlyOnceWith(new Error('The log is full'));
  });
});
