/**
 * The contract suite: what every transport has to do, as vitest tests. A transport that passes behaves as all others.
 *
 * It needs vitest, which nothing else of this package does.
 */
import { describe } from 'vitest';
import { describeCalls } from './calls.ts';
import { describeCancellation } from './cancellation.ts';
import { describeClaims } from './claims.ts';
import { describeClients } from './clients.ts';
import { describeClosing } from './closing.ts';
import { describeCredit } from './credit.ts';
import { describeDuplex } from './duplex.ts';
import { describeEverything } from './everything.ts';
import { describeFailures } from './failures.ts';
import { describeFragments } from './fragments.ts';
import { describeHandlers } from './handlers.ts';
import { describeHostile } from './hostile.ts';
import { describeLimits } from './limits.ts';
import { describeMetadata } from './metadata.ts';
import { describeOneWay } from './one-way.ts';
import { describePlain } from './plain.ts';
import { describePull } from './pull.ts';
import { describeRequests } from './requests.ts';
import { describeShutdown } from './shutdown.ts';
import { describeResponseClaims } from './response-claims.ts';
import { describeSink } from './sink.ts';
import { describeSpanwireClaims } from './spanwire-claims.ts';
import { describeStreams } from './streams.ts';
import { describeWindows } from './windows.ts';
import { TEST_TIMEOUT_MS } from './eventually.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export type { AddressUnderTest, TransportUnderTest } from './transport-under-test.ts';

type Subject = readonly [title: string, register: (transport: TransportUnderTest) => void];

const OF_BOTH: readonly Subject[] = [
  ['requests', describeRequests],
  ['calls', describeCalls],
  ['the sink', describeSink],
  ['handlers', describeHandlers],
  ['windows', describeWindows],
  ['listening and closing', describeClosing],
  ['shutdown', describeShutdown],
  ['pull', describePull],
  ['limits', describeLimits],
  ['claims for requests', describeClaims],
  ['claims for answers', describeResponseClaims],
  ['clients', describeClients],
];

const OF_SPANWIRE: readonly Subject[] = [
  ['failures', describeFailures],
  ['metadata and deadlines', describeMetadata],
  ['streams', describeStreams],
  ['credit', describeCredit],
  ['fragments', describeFragments],
  ['duplex requests', describeDuplex],
  ['cancellation', describeCancellation],
  ['one-way messages and pushes', describeOneWay],
  ['claims and what others send', describeSpanwireClaims],
  ['hostile peers', describeHostile],
  ['everything at once', describeEverything],
];

const OF_PLAIN: readonly Subject[] = [['plain framing', describePlain]];

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
  const subjects = [...OF_BOTH, ...(transport.framing === 'plain' ? OF_PLAIN : OF_SPANWIRE)];
  describe(`${name}: the contract of a transport`, { timeout: TEST_TIMEOUT_MS }, () => {
    for (const [subject, register] of subjects) {
      describe(`on ${subject}`, () => {
        register(transport);
      });
    }
  });
}
