import { expect, onTestFinished, test } from 'vitest';
import {
  createMemoryClient,
  createMemoryServer,
  requester,
  type Bytes,
  type Handler,
  type IpcClient,
  type Requester,
} from '../src/index.ts';

let addresses = 0;

async function connected(handler: Handler): Promise<IpcClient> {
  const address = `requester-${++addresses}`;
  const server = createMemoryServer(address);
  server.respond(handler);
  await server.listen();
  const client = createMemoryClient(address);
  await client.connect();
  onTestFinished(async () => {
    await client.close();
    await server.close();
  });
  return client;
}

/** The same client, as somebody else would wrap it. */
function wrapped(client: IpcClient): IpcClient {
  return { request: (data: Uint8Array, options) => client.request(data, options) } as IpcClient;
}

type Outcome = { readonly reply: Bytes } | { readonly error: unknown };

function outcomeOf(
  client: IpcClient,
  data: Uint8Array,
  options?: Parameters<IpcClient['request']>[1],
): { readonly outcome: Promise<Outcome>; giveUp(reason: unknown): void } {
  let pending: Requester | undefined;
  const outcome = new Promise<Outcome>((resolve) => {
    pending = requester(
      client,
      (reply) => resolve({ reply }),
      (error) => resolve({ error }),
    );
    pending.request(data, options);
  });
  return { outcome, giveUp: (reason) => pending?.giveUp(reason) };
}

const whose = [
  { whose: 'a client of ours', of: (client: IpcClient) => client },
  { whose: 'a client that is wrapped', of: wrapped },
];

test.each(whose)('$whose: the outcome goes to functions', async ({ of }) => {
  let cancelled: (() => void) | undefined;
  const cancel = new Promise<void>((resolve) => {
    cancelled = resolve;
  });
  const client = of(
    await connected((_clientId, request, { signal }) => {
      if (request[0] === 1) return request;
      if (request[0] === 2) throw new RangeError('Expected 1, got 2');
      return new Promise(() => {
        signal.addEventListener('abort', () => cancelled?.());
      });
    }),
  );
  expect(await outcomeOf(client, Uint8Array.of(1)).outcome).toEqual({ reply: Uint8Array.of(1) });
  expect(await outcomeOf(client, Uint8Array.of(2)).outcome).toMatchObject({ error: { message: 'Expected 1, got 2' } });
  expect(await outcomeOf(client, Uint8Array.of(3), { timeoutMs: 1 }).outcome).toMatchObject({
    error: { code: 'ERR_IPC_TIMEOUT' },
  });

  const reason = new Error('no longer needed');
  const given = outcomeOf(client, Uint8Array.of(3));
  given.giveUp(reason);
  expect(await given.outcome).toEqual({ error: reason });
  await cancel;

  const controller = new AbortController();
  const aborted = outcomeOf(client, Uint8Array.of(3), { signal: controller.signal });
  controller.abort(reason);
  expect(await aborted.outcome).toEqual({ error: reason });
});

test('bad arguments are an error of the request', async () => {
  const client = await connected((_clientId, request) => request);
  const outcome = await outcomeOf(client, 'text' as unknown as Uint8Array).outcome;
  expect(outcome).toMatchObject({ error: { message: 'Expected `data` to be a Uint8Array, got "text"' } });
});

test('giving up what is over does nothing', async () => {
  const client = await connected((_clientId, request) => request);
  const done = outcomeOf(client, Uint8Array.of(1));
  await done.outcome;
  done.giveUp(new Error('too late'));
  expect(await client.request(Uint8Array.of(2))).toEqual(Uint8Array.of(2));
});

test.each(whose)(
  '$whose: a requester makes one request after the other, the next one from the reply to the last',
  async ({ of }) => {
    const client = of(await connected((_clientId, request) => request));
    const replies = await new Promise<number[]>((resolve, reject) => {
      const got: number[] = [];
      const numbers = requester(
        client,
        (reply) => {
          got.push(reply[0] ?? -1);
          if (got.length === 100) resolve(got);
          else numbers.request(Uint8Array.of(got.length));
        },
        reject,
      );
      numbers.request(Uint8Array.of(0));
    });
    expect(replies).toEqual(Array.from({ length: 100 }, (_, i) => i));
  },
);

test.each(whose)(
  '$whose: a second request beside the first is a mistake, and the first is answered',
  async ({ of }) => {
    const client = of(await connected((_clientId, request) => request));
    const reply = await new Promise((resolve, reject) => {
      const one = requester(client, resolve, reject);
      one.request(Uint8Array.of(1));
      expect(() => one.request(Uint8Array.of(2))).toThrow(
        new TypeError('Expected one request at a time, got a second one: make a requester for each'),
      );
    });
    expect(reply).toEqual(Uint8Array.of(1));
  },
);

test.each(whose)(
  '$whose: after a request that failed, and one that was given up, the next one is answered',
  async ({ of }) => {
    const client = of(
      await connected((_clientId, request) => {
        if (request[0] === 1) throw new RangeError('Expected 2, got 1');
        return request[0] === 2 ? new Promise(() => undefined) : request;
      }),
    );
    const outcomes: unknown[] = [];
    await new Promise<void>((resolve) => {
      const one = requester(
        client,
        (reply) => {
          outcomes.push(reply);
          resolve();
        },
        (error) => {
          outcomes.push(error instanceof Error ? error.message : error);
          if (outcomes.length === 1) {
            one.request(Uint8Array.of(2));
            one.giveUp('never mind');
          } else one.request(Uint8Array.of(3), { timeoutMs: 60_000 });
        },
      );
      one.request(Uint8Array.of(1));
    });
    expect(outcomes).toEqual(['Expected 2, got 1', 'never mind', Uint8Array.of(3)]);
  },
);
