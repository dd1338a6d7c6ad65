/** A stream on its way out of this process. */
import type { Overflow } from '@spanwire/ipc-core';
import { RpcStub } from 'capnweb';
import {
  from,
  observable as interop,
  type Observable,
  type Observer,
  type OperatorFunction,
  type Subscription,
} from 'rxjs';
import { StreamSource, type StreamInput } from './stream-source.ts';

/**
 * To capnweb it is an error, the one kind of value whose encoding can be replaced. To whoever meets it in this process (a pipelined
 * call that takes the result of one local method to the next) it quacks like an Observable.
 */
export class OutgoingStream extends Error {
  readonly #input: StreamInput;
  readonly #overflow: Overflow;

  constructor(input: StreamInput, overflow: Overflow) {
    super('A stream, which only its own session can send');
    this.#input = input;
    this.#overflow = overflow;
  }

  /** A stub of the source. The message that takes it along has a duplicate of its own. */
  source(): RpcStub<StreamSource> {
    return new RpcStub(new StreamSource(this.#input, this.#overflow));
  }

  subscribe(observer?: Partial<Observer<unknown>> | ((value: unknown) => void)): Subscription {
    return from(this.#input).subscribe(observer);
  }

  pipe(...operators: OperatorFunction<unknown, unknown>[]): Observable<unknown> {
    return operators.reduce((source, operator) => operator(source), from(this.#input));
  }

  /** Told to rxjs's `isObservable`. */
  lift(operator: OperatorFunction<unknown, unknown>): Observable<unknown> {
    return operator(from(this.#input));
  }

  static {
    const value = function (this: OutgoingStream): Observable<unknown> {
      return from(this.#input);
    };
    Object.defineProperty(this.prototype, interop, { value });
  }
}
