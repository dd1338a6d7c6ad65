/** Listening, connecting and closing. */
import { expect, onTestFinished, test } from 'vitest';
import { IpcError } from '../errors.ts';
import { eventually, expectCode, failureOf } from './eventually.ts';
import { echo, Fixture, serve, serveWith, stateOf, withClient } from './fixture.ts';
import { readU32, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

function codeOf(error: unknown): unknown {
  return error instanceof IpcError ? error.code : error;
}

export function describeClosing(transport: TransportUnderTest): void {
  test('a server without clients closes at once, and one that never listened as well', async () => {
    const fixture = await serve(transport);
    fixture.server.requestShutdown();
    await fixture.server.closed;
    const other = new Fixture(await transport.open(), {});
    onTestFinished(() => other.dispose());
    await other.server.close();
    await expectCode(other.server.listen(), 'ERR_IPC_CLOSED');
  });

  test('one server listens on an address: the second rejects with ERR_IPC_ADDRESS_IN_USE, and the first goes on', async () => {
    const fixture = await serveWith(transport, echo);
    const second = fixture.another();
    await expectCode(second.listen(), 'ERR_IPC_ADDRESS_IN_USE');
    const client = await fixture.client();
    expect(readU32(await client.request(u32(1)))).toBe(1);
    await fixture.server.close();
    await second.listen();
    second.respond(echo);
    const other = await fixture.client();
    expect(readU32(await other.request(u32(2)))).toBe(2);
  });

  test('listen() is called once', async () => {
    const { server } = await serve(transport);
    await expect(server.listen()).rejects.toBeInstanceOf(TypeError);
    await server.close();
    await expect(server.listen()).rejects.toBeInstanceOf(Error);
  });

  test('both sides are disposed of by `await using`', async () => {
    const fixture = await serveWith(transport, echo);
    let left: unknown;
    {
      await using client = await fixture.client();
      expect(readU32(await client.request(u32(1)))).toBe(1);
      left = client;
    }
    expect(stateOf(left as Awaited<ReturnType<Fixture['client']>>)).toBe('closed');
    {
      await using server = fixture.server;
      expect(server.stats.requests).toBe(1);
    }
    await fixture.server.closed;
  });

  test('close() of a client fails its calls with ERR_IPC_CLOSED, once and for all', async () => {
    const { client, fixture } = await withClient(transport, () => new Promise(() => undefined));
    const failures = [failureOf(client.request(u32(1))), failureOf(client.exchange(u32(2)))];
    await eventually('they run', () => fixture.server.stats.openRequests === 2);
    const closing = client.close();
    expect(client.close()).toBe(closing);
    await closing;
    for (const failure of failures) expect(codeOf(await failure)).toBe('ERR_IPC_CLOSED');
    await eventually('the server knows', () => fixture.disconnects().length === 1);
    expect(fixture.disconnects()).toMatchObject([{ reason: 'closed' }]);
    expect(fixture.server.stats.openRequests).toBe(0);
  });

  test('a client may be closed before and while it connects', async () => {
    const fixture = await serveWith(transport, echo);
    const never = fixture.idle();
    await never.close();
    await expectCode(never.connect(), 'ERR_IPC_CLOSED');
    const early = fixture.idle();
    const connecting = failureOf(early.connect());
    const waiting = failureOf(early.request(u32(1)));
    await early.close();
    expect(codeOf(await connecting)).toBe('ERR_IPC_CLOSED');
    expect(codeOf(await waiting)).toBe('ERR_IPC_CLOSED');
    const other = await fixture.client();
    expect(readU32(await other.request(u32(1)))).toBe(1);
    await eventually('no client stays behind', () => fixture.server.stats.clients === 1);
  });

  test('connect() may be called by many at once, and connects once', async () => {
    const fixture = await serveWith(transport, echo);
    const client = fixture.idle();
    await Promise.all([client.connect(), client.connect(), client.connect()]);
    await client.connect();
    await client.request(u32(1));
    expect(fixture.server.stats.clients).toBe(1);
  });

  test('a server in the middle of listen() can be closed', async () => {
    const fixture = new Fixture(await transport.open(), {});
    onTestFinished(() => fixture.dispose());
    const listening = fixture.server.listen().catch((error: unknown) => codeOf(error));
    await fixture.server.close();
    await listening;
    const next = fixture.another();
    await next.listen();
  });
}
