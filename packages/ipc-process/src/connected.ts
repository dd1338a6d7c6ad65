/** A connection to a process that runs already. */
import type { RpcStub, RpcTarget } from 'capnweb';
import type { Connection } from './handle.ts';
import type { Session } from './session.ts';

export class AddressConnection implements Connection {
  /** The resolved address. */
  readonly address: string;
  readonly stub: RpcStub<RpcTarget>;
  readonly #session: Session;

  constructor(address: string, session: Session, stub: RpcStub<RpcTarget>) {
    this.address = address;
    this.#session = session;
    this.stub = stub;
  }

  disconnect(): Promise<void> {
    return this.#session.close();
  }
}
