/** What the contract suite needs of a transport. */
import type { IpcClient, IpcServer } from '../contract.ts';
import type { ClientOptions, ServerOptions } from '../options.ts';
import type { MakeConnect } from '../transport.ts';

/** A transport, as the contract suite sees it. */
export interface TransportUnderTest {
  /**
   * What its clients speak. With `plain` the suite runs what plain framing can express, and asserts the typed
   * refusals of the rest.
   */
  readonly framing: 'spanwire' | 'plain';
  /** Whether the server learns uid and pid of its clients, who are this process here. Default false. */
  readonly knowsPeers?: boolean | undefined;
  /**
   * Names an address where nobody listens. Called once per test; the suite makes all servers and clients of that
   * test there.
   */
  open(): AddressUnderTest | Promise<AddressUnderTest>;
}

/** One address, and what can be made there. */
export interface AddressUnderTest {
  /**
   * A server that does not listen yet. The suite relies on the options: `windowBytes` and `responseWindowBytes` (powers of two
   * from 8 KiB on) must bound what is unreleased, so a transport with rings makes its rings that large.
   */
  createServer(options?: ServerOptions): IpcServer;
  /** A client that is not connected yet. */
  createClient(options?: ClientOptions): IpcClient;
  /** Opens channels without a client on top: so tests are slow or hostile clients. Spoken is {@link TransportUnderTest.framing}. */
  readonly connect: MakeConnect;
  /** Called when the test is over and everything is closed. */
  dispose?(): void | Promise<void>;
}
