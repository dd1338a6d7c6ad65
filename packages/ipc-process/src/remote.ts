/** The types of objects in other processes. */
import type { RpcCompatible, RpcStub, RpcTarget } from 'capnweb';
import type { Observable } from 'rxjs';
import type { RemoteObservable } from './remote-observable.ts';

/** What a stub is to capnweb's types, so that they take something for passing as itself. The key exists in types only. */
type Brand = Pick<RpcStub<Stream>, Extract<keyof RpcStub<Stream>, `__RPC${string}` | 'onRpcBroken'>>;
interface Stream {
  readonly isStream: true;
}

/** A {@link RemoteObservable} as capnweb's types have to see it. */
export type Streamed<T> = RemoteObservable<T> & Brand;

/**
 * `T`, with streams as they arrive: what a method returns as an Observable or AsyncIterable of U, also inside of objects and lists, is a
 * RemoteObservable of U on the other side.
 */
export type Crossing<T> =
  T extends Observable<infer U>
    ? Streamed<U>
    : T extends Promise<infer U>
      ? Promise<Crossing<U>>
      : T extends (...parameters: infer P) => infer R
        ? (...parameters: P) => Crossing<R>
        : T extends RpcTarget
          ? { [K in keyof T]: K extends `__RPC${string}` ? T[K] : Crossing<T[K]> }
          : T extends ByValue
            ? T
            : T extends AsyncIterable<infer U>
              ? Streamed<U>
              : T extends object
                ? { [K in keyof T]: Crossing<T[K]> }
                : T;

/** What crosses as it is. */
type ByValue =
  | Date
  | Error
  | RegExp
  | ArrayBuffer
  | ArrayBufferView
  | Blob
  | URL
  | Headers
  | Request
  | Response
  | ReadableStream
  | WritableStream
  | Disposable;

/**
 * An object of type `T` in another process. Methods return promises that can be used before they are resolved (pipelined calls take one round
 * trip); objects and functions that are arguments or results become proxies on the other side.
 */
export type Remote<T> = Crossing<T> extends infer C extends RpcCompatible<C> ? RpcStub<C> : never;

/**
 * The proxy of a process's main object. Disposing it disconnects, ends the process if it was spawned, and runs the clean-ups of the proxy.
 */
export type RemoteInit<T> = Remote<T> & AsyncDisposable;
