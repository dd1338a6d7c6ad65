import { describe, expect, it } from 'vitest';
import { startFixture } from './support/fixture.ts';
import { addressOn, transports } from './support/place.ts';
import { until } from './support/until.ts';

const CLIENTS = 100;
const KiB = 1024;
const MiB = 1024 * KiB;

describe.each(transports)('a hundred clients of a server that does not look, over %s', (transport) => {
  it('wait, and are all served in one call, each in its own order', async () => {
    const address = addressOn(transport);
    const calls = 50;
    const server = await startFixture('server', address);
    const clients = await startFixture('clients', address, String(CLIENTS), String(calls), '100');
    await until(
      () => server.ask<number>('pending'),
      (pending) => pending === CLIENTS * calls,
    );
    expect(await server.ask<{ clients: number; responses: number }>('stats')).toMatchObject({
      clients: CLIENTS,
      responses: 0,
    });
    expect(await server.ask('pollSync')).toBe(CLIENTS * calls);
    expect(await server.ask('pending')).toBe(0);
    expect(await clients.message()).toEqual({ inOrder: CLIENTS });
  });

  it('cost it no more than their windows, however much they want to send', async () => {
    const address = addressOn(transport);
    // 100 x 40 x 64 KiB are 250 MiB; the windows of all are 100 MiB.
    const calls = 40;
    const bytes = 64 * KiB;
    const server = await startFixture('server', address);
    const before = await server.ask<number>('memory');
    const clients = await startFixture('clients', address, String(CLIENTS), String(calls), String(bytes));
    // A window of 1 MiB takes 15 of them, with what is around the bytes.
    const full = CLIENTS * 15;
    await until(
      () => server.ask<number>('pending'),
      (pending) => pending >= full,
    );
    for (let asked = 0; asked < 100; asked++) expect(await server.ask('pending')).toBe(full);
    const grown = (await server.ask<number>('memory')) - before;
    if (transport === 'shm') {
      // It stays in the rings; the server has only what it needs to find it there.
      expect(grown).toBeLessThan(0.1 * full * bytes);
    } else {
      // What the windows hold, and half as much for what is around it.
      expect(grown).toBeGreaterThan(full * bytes);
      expect(grown).toBeLessThan(1.5 * CLIENTS * MiB);
    }
    expect(await server.ask('pollSync')).toBe(full);
    void server.ask('serve');
    expect(await clients.message()).toEqual({ inOrder: CLIENTS });
  });
});
