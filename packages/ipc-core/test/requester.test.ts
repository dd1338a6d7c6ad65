import { expect, onTestFinished, test } from 'vitest';
import {
  createMemoryClient,
  createMemoryServer,
  requestWith,
  type Bytes,
  type Handler,
  type IpcClient,
  type PendingRequest,
} from '../src/index.ts';

let addresses = 0;

async function connected(handler: Handler): Promise<IpcClient> {
  const address = `request-with-${++addresses}`;
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
  let pending: PendingRequest | undefined;
  const outcome = new Promise<Outcome>((resolve) => {
    pending = requestWith(
      client,
      data,
      (reply) => resolve({ reply }),
      (error) => resolve({ error }),
      options,
    );
  });
  return { outcome, giveUp: (reason) => pending?.giveUp(reason) };
}

test.each([
  { whose: 'a client of ours', of: (client: IpcClient) => client },
  { whose: 'a client that is wrapped', of: wrapped },
])('$whose: the outcome goes to functions', async ({ of }) => {
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
