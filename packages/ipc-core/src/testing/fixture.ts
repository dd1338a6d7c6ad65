/** A server and its clients for one test, closed when it ends. */
import { onTestFinished } from 'vitest';
import type { Bytes, ClientEvent, ClientState, Handler, HandleOptions, IpcClient, IpcServer } from '../contract.ts';
import { IpcError } from '../errors.ts';
import { helloOfClient, resolveClientOptions, type ClientOptions, type ServerOptions } from '../options.ts';
import { turn } from './eventually.ts';
import { RawPeer } from './raw-peer.ts';
import type { AddressUnderTest, TransportUnderTest } from './transport-under-test.ts';

/** Where these are not the question: dozens of clients that connect at once take seconds on a busy machine. */
const PATIENCE = { handshakeTimeoutMs: 60_000, graceMs: 60_000 };

export interface RawOptions extends ClientOptions {
  /** Release nothing that comes. */
  readonly holding?: boolean | undefined;
  /** Take nothing at all until `start()`. */
  readonly deaf?: boolean | undefined;
}

export class Fixture {
  readonly address: AddressUnderTest;
  readonly server: IpcServer;
  readonly events: ClientEvent[] = [];
  readonly #raw: RawPeer[] = [];
  readonly #clients: IpcClient[] = [];
  readonly #servers: IpcServer[] = [];

  constructor(address: AddressUnderTest, options: ServerOptions) {
    this.address = address;
    this.server = this.another(options);
    this.server.clients$.subscribe((event) => this.events.push(event));
  }

  /** One more server at the same address. */
  another(options?: ServerOptions): IpcServer {
    const server = this.address.createServer({ ...PATIENCE, ...options });
    this.#servers.push(server);
    return server;
  }

  /** A client that is not connected. */
  idle(options?: ClientOptions): IpcClient {
    const client = this.address.createClient({ ...PATIENCE, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A connected client. */
  async client(options?: ClientOptions): Promise<IpcClient> {
    const client = this.idle(options);
    await client.connect();
    return client;
  }

  /** A connected client of a server that may not listen yet. */
  async clientWhenUp(options?: ClientOptions): Promise<IpcClient> {
    const client = this.idle(options);
    for (;;) {
      try {
        await client.connect();
        return client;
      } catch (error) {
        if (!(error instanceof IpcError) || error.code !== 'ERR_IPC_PEER_GONE') throw error;
        await turn();
      }
    }
  }

  /** A connected channel. */
  async raw(options: RawOptions = {}): Promise<RawPeer> {
    const { holding = false, deaf = false, ...clientOptions } = options;
    const settings = resolveClientOptions({ ...PATIENCE, ...clientOptions });
    const connect = this.address.connect({ settings, hello: helloOfClient(settings) });
    const peer = new RawPeer(await connect(new AbortController().signal), holding);
    this.#raw.push(peer);
    return deaf ? peer : peer.start();
  }

  disconnects(): ClientEvent[] {
    return this.events.filter((event) => event.type === 'disconnected');
  }

  async dispose(): Promise<void> {
    // Who does not read goes first, without manners: else servers would wait for it.
    await Promise.all(this.#raw.map((peer) => peer.channel.close('gone')));
    await Promise.all(this.#clients.map((client) => client.close()));
    await Promise.all(this.#servers.map((server) => server.close()));
    await this.address.dispose?.();
  }
}

/** A server that listens and answers nobody. */
export async function serve(transport: TransportUnderTest, options: ServerOptions = {}): Promise<Fixture> {
  const fixture = new Fixture(await transport.open(), options);
  onTestFinished(() => fixture.dispose());
  await fixture.server.listen();
  return fixture;
}

/** Listens as soon as whoever has the address lets go of it. */
export async function listenWhenFree(server: IpcServer): Promise<void> {
  for (;;) {
    try {
      await server.listen();
      return;
    } catch (error) {
      if (!(error instanceof IpcError) || error.code !== 'ERR_IPC_ADDRESS_IN_USE') throw error;
      await turn();
    }
  }
}

/** A server with a handler. */
export async function serveWith(
  transport: TransportUnderTest,
  handler: Handler,
  options: ServerOptions = {},
  handle?: HandleOptions,
): Promise<Fixture> {
  const fixture = await serve(transport, options);
  fixture.server.respond(handler, handle);
  return fixture;
}

/** The state that a client is in now. */
export function stateOf(client: IpcClient): ClientState | undefined {
  let now: ClientState | undefined;
  client.state$.subscribe((state) => (now = state)).unsubscribe();
  return now;
}

/** Answers with what came. */
export const echo: Handler = (_clientId: number, request: Bytes): Bytes => request;

/** A server with a handler, and one client. */
export async function withClient(
  transport: TransportUnderTest,
  handler: Handler,
  options: ServerOptions = {},
  clientOptions: ClientOptions = {},
): Promise<{ fixture: Fixture; server: IpcServer; client: IpcClient }> {
  const fixture = await serveWith(transport, handler, options);
  return { fixture, server: fixture.server, client: await fixture.client(clientOptions) };
}
