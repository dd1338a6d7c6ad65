/** Errors between processes: a declared class arrives as that class, every other error as a {@link RemoteError}. */
import { IpcError, MessageTooLargeError, RemoteError, show } from '@spanwire/ipc-core';
import { encodeTag, type DeclaredTag, type OtherTag, type TooLargeTag } from './tags.ts';

/** A class of errors that may be declared. Its constructor is not called on arrival; its enumerable properties travel. */
export type ErrorClass = abstract new (...parameters: never[]) => Error;

/** What capnweb encodes in an error's place: `name` becomes the tag, and own enumerable properties travel. */
export interface ErrorStandIn {
  readonly name: Uint8Array;
  readonly message: string;
}

const NOT_PROPERTIES: ReadonlySet<string> = new Set(['name', 'message', 'stack']);

export class ErrorWire {
  readonly #typeOf = new Map<unknown, string>();
  readonly #classes = new Map<string, ErrorClass>();

  /** Throws TypeError on what is no error class, and on two of one name. */
  constructor(classes: readonly ErrorClass[]) {
    const given: unknown = classes;
    if (!Array.isArray(given)) {
      throw new TypeError(`Expected \`errors\` to be a list of classes that extend Error, got ${show(classes)}`);
    }
    for (const declared of classes) {
      if (typeof declared !== 'function' || !(declared.prototype instanceof Error)) {
        throw new TypeError(
          `Expected \`errors\` to be a list of classes that extend Error, got ${show(declared)} in it`,
        );
      }
      if (this.#classes.has(declared.name)) {
        throw new TypeError(
          `Expected the classes in \`errors\` to have different names, got two called ${declared.name}`,
        );
      }
      this.#classes.set(declared.name, declared);
      this.#typeOf.set(declared.prototype, declared.name);
    }
  }

  /** What is sent instead of `error`. */
  standIn(error: Error): ErrorStandIn {
    const type = this.#declaredType(error);
    // Anything may have been assigned to them.
    const { name, message }: { name: unknown; message: unknown } = error;
    if (type === undefined) {
      const code: unknown = 'code' in error ? error.code : undefined;
      return tagged(['other', String(name), typeof code === 'string' ? code : null], String(message), {});
    }
    const properties: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(error)) if (!NOT_PROPERTIES.has(key)) properties[key] = value;
    if ('cause' in error) properties['cause'] = error.cause;
    if (error instanceof AggregateError) properties['errors'] = error.errors;
    return tagged(['declared', type, String(name)], String(message), properties);
  }

  /** The error that arrives. Its properties may still be encoded; they are own and enumerable, so that capnweb decodes them in place. */
  restore(tag: DeclaredTag | OtherTag, message: string, properties: object): Error {
    const declared = tag[0] === 'declared' ? this.#classes.get(tag[1]) : undefined;
    const name = tag[0] === 'declared' ? tag[2] : tag[1];
    if (declared === undefined) {
      const code: unknown = tag[0] === 'other' ? tag[2] : (properties as { code?: unknown }).code;
      return new RemoteError({ name, message, code: typeof code === 'string' ? code : undefined });
    }
    const error = new Error(message);
    Object.setPrototypeOf(error, declared.prototype as object);
    for (const [key, value] of Object.entries(properties)) {
      if (!NOT_PROPERTIES.has(key)) define(error, key, value, true);
    }
    if (error.name !== name) define(error, 'name', name, false);
    // Again, now that the name in its first line is known.
    Error.captureStackTrace(error);
    return error;
  }

  #declaredType(error: Error): string | undefined {
    for (let prototype: unknown = error; prototype !== null; prototype = Object.getPrototypeOf(prototype)) {
      const type = this.#typeOf.get(prototype);
      if (type !== undefined) return type;
    }
    return undefined;
  }
}

/** The failure of a call whose message, or whose answer, was kept back. */
export function tooLarge(tag: TooLargeTag): IpcError {
  return new MessageTooLargeError(tag[1], tag[2], "a side's");
}

export function overloaded(): IpcError {
  return new IpcError(
    'ERR_IPC_OVERLOADED',
    'Expected a peer that reads, got more for it than `maxQueuedBytes` waiting to be sent',
  );
}

/** A subscriber in another process is too far behind its Observable. It arrives as what it is, also where it is only handed on. */
export class SlowSubscriberError extends IpcError {
  readonly maxItems: number;

  constructor(maxItems: number) {
    super(
      'ERR_IPC_OVERLOADED',
      `Expected a subscriber at most ${maxItems} items behind its Observable, got one further behind`,
    );
    this.maxItems = maxItems;
  }
}

function tagged(tag: DeclaredTag | OtherTag, message: string, properties: object): ErrorStandIn {
  const standIn = Object.defineProperty({ message, ...properties }, 'message', { enumerable: false });
  return Object.defineProperty(standIn, 'name', { value: encodeTag(tag) }) as unknown as ErrorStandIn;
}

function define(target: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(target, key, { value, enumerable, writable: true, configurable: true });
}
