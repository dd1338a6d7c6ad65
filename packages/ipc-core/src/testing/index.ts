/**
 * The contract suite: what every transport has to do, as vitest tests. A transport that passes behaves as all others.
 *
 * It needs vitest, which nothing else of this package does.
 */
import { describe } from 'vitest';
import { describeCancellation } from './cancellation.ts';
import { describeClients } from './clients.ts';
import { describeDuplex } from './duplex.ts';
import { TEST_TIMEOUT_MS } from './eventually.ts';
import { describeHandlers } from './handlers.ts';
import { describeHostile } from './hostile.ts';
import { describeLimits } from './limits.ts';
import { describeOneWay } from './one-way.ts';
import { describePull } from './pull.ts';
import { describeRequests } from './requests.ts';
import { describeShutdown } from './shutdown.ts';
import { describeSink } from './sink.ts';
import { describeStreams } from './streams.ts';
import type { TransportUnderTest } from './transport-under-test.ts';
import { describeWindows } from './windows.ts';

export type { AddressUnderTest, TransportUnderTest } from './transport-under-test.ts';

/**
 * Registers the tests of the contract for one transport. Call it at the top of a test file.
 *
 * @example
 * describeTransport('memory', {
 *   framing: 'spanwire',
 *   open: () => {
 *     const name = `test-${n++}`;
 *     return {
 *       createServer: (options) => createMemoryServer(name, options),
 *       createClient: (options) => createMemoryClient(name, options),
 *       connect: memoryConnect(name),
 *     };
 *   },
 * });
 */
export function describeTransport(name: string, transport: TransportUnderTest): void {
  describe(`${name}: the contract of a transport`, { timeout: TEST_TIMEOUT_MS }, () => {
    describe('requests', () => {
      describeRequests(transport);
    });
    describe('the sink', () => {
      describeSink(transport);
    });
    describe('handlers', () => {
      describeHandlers(transport);
    });
    describe('windows', () => {
      describeWindows(transport);
    });
    describe('shutdown and close', () => {
      describeShutdown(transport);
    });
    describe('pull', () => {
      describePull(transport);
    });
    describe('limits and fragments', () => {
      describeLimits(transport);
    });
    describe('clients', () => {
      describeClients(transport);
    });
    if (transport.framing === 'plain') return;
    describe('streams', () => {
      describeStreams(transport);
    });
    describe('duplex requests', () => {
      describeDuplex(transport);
    });
    describe('cancellation', () => {
      describeCancellation(transport);
    });
    describe('one-way messages and pushes', () => {
      describeOneWay(transport);
    });
    describe('hostile peers', () => {
      describeHostile(transport);
    });
  });
}
