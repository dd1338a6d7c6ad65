import { serve } from '@spanwire/ipc-rx';
import type { Subscription } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Log } from './support/log.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

it('serve returns the subscription', () => {
  expectTypeOf(serve).returns.toEqualTypeOf<Subscription>();
  expectTypeOf(serve).parameter(1).returns.toExtend<object | undefined>();
});

describe.each(transports)('serve over $name', ({ open }) => {
  it('answers with the handler', async () => {
    await using scene = await open();
    serve(scene.server, (_clientId, request) => bytes(text(request).toUpperCase()));
    const client = await scene.connect();
    expect(text(await client.request(bytes('quiet')))).toBe('QUIET');
  });

  it('leaves later requests to the next subscriber once it is unsubscribed', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const first = serve(scene.server, () => bytes('first'));
    expect(text(await client.request(bytes('?')))).toBe('first');
    first.unsubscribe();
    const reply = client.request(bytes('?'));
    const second = serve(scene.server, () => bytes('second'));
    expect(text(await reply)).toBe('second');
    expect(second.closed).toBe(false);
  });

  it('ends with the server', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const asked = new Log<true>();
    const serving = serve(scene.server, (_clientId, request) => {
      asked.add(true);
      return request;
    });
    await client.request(bytes('?'));
    scene.server.requestShutdown();
    await scene.server.closed;
    expect(serving.closed).toBe(true);
    expect(asked.entries).toHaveLength(1);
  });

  it('sends the bytes of an echo that waits for room although its handler has released it', async () => {
    await using scene = await open({ windowBytes: 65_536, responseWindowBytes: 8192 });
    const client = await scene.connect({ responseWindowBytes: 8192 });
    scene.server.requests$.subscribe((request) => {
      request.respond(request.span);
      // As a handler does that tidies up in any case.
      request.release();
    });
    const questions = Array.from({ length: 200 }, (_, i) => String(i).padEnd(900, String(i % 10)));
    const answers = await Promise.all(questions.map((question) => client.request(bytes(question))));
    expect(answers.map(text)).toEqual(questions);
  });
});
