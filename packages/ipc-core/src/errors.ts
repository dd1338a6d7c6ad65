/**
 * The errors of Spanwire. Operational failures are {@link IpcError}s with a stable `code`; a caller's own mistake is a
 * plain `TypeError` or `RangeError`, thrown at once.
 */

/** Every code an {@link IpcError} can carry. Codes are stable: branch on them, never on messages. */
export type IpcErrorCode =
  | 'ERR_IPC_CLOSED'
  | 'ERR_IPC_PEER_GONE'
  | 'ERR_IPC_TIMEOUT'
  | 'ERR_IPC_MESSAGE_TOO_LARGE'
  | 'ERR_IPC_PROTOCOL'
  | 'ERR_IPC_ADDRESS_IN_USE'
  | 'ERR_IPC_UNAUTHORIZED'
  | 'ERR_IPC_REMOTE'
  | 'ERR_IPC_REFUSED'
  | 'ERR_IPC_OVERLOADED'
  | 'ERR_IPC_UNSUPPORTED'
  | 'ERR_IPC_CANCELLED'
  | 'ERR_IPC_VERSION'
  | 'ERR_IPC_SYSTEM'
  | 'ERR_IPC_NATIVE_UNAVAILABLE';

const CODES: ReadonlySet<string> = new Set<IpcErrorCode>([
  'ERR_IPC_CLOSED',
  'ERR_IPC_PEER_GONE',
  'ERR_IPC_TIMEOUT',
  'ERR_IPC_MESSAGE_TOO_LARGE',
  'ERR_IPC_PROTOCOL',
  'ERR_IPC_ADDRESS_IN_USE',
  'ERR_IPC_UNAUTHORIZED',
  'ERR_IPC_REMOTE',
  'ERR_IPC_REFUSED',
  'ERR_IPC_OVERLOADED',
  'ERR_IPC_UNSUPPORTED',
  'ERR_IPC_CANCELLED',
  'ERR_IPC_VERSION',
  'ERR_IPC_SYSTEM',
  'ERR_IPC_NATIVE_UNAVAILABLE',
]);

/** Whether `code` is one of {@link IpcErrorCode}. */
export function isIpcErrorCode(code: unknown): code is IpcErrorCode {
  return typeof code === 'string' && CODES.has(code);
}

/**
 * An operational failure, told apart by `code`.
 *
 * @example
 * try { await client.request(data) } catch (error) {
 *   if (error instanceof IpcError && error.code === 'ERR_IPC_REFUSED') retryLater();
 *   else throw error;
 * }
 */
export class IpcError extends Error {
  override readonly name: string = 'IpcError';
  readonly code: IpcErrorCode;

  constructor(code: IpcErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The other side is gone: what was in flight may or may not have run. */
export class PeerGoneError extends IpcError {
  override readonly name: string = 'PeerGoneError';
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_IPC_PEER_GONE', message, options);
  }
}

/** A wait was longer than its `timeoutMs`. */
export class TimeoutError extends IpcError {
  override readonly name: string = 'TimeoutError';
  readonly timeoutMs: number;
  constructor(message: string, timeoutMs: number) {
    super('ERR_IPC_TIMEOUT', message);
    this.timeoutMs = timeoutMs;
  }
}

/** A message is larger than the `maxMessageBytes` of a side. */
export class MessageTooLargeError extends IpcError {
  override readonly name: string = 'MessageTooLargeError';
  readonly messageBytes: number;
  readonly maxMessageBytes: number;
  constructor(messageBytes: number, maxMessageBytes: number, whose: string) {
    super(
      'ERR_IPC_MESSAGE_TOO_LARGE',
      `Expected a message of at most ${maxMessageBytes} bytes (${whose} maxMessageBytes), got ${messageBytes}`,
    );
    this.messageBytes = messageBytes;
    this.maxMessageBytes = maxMessageBytes;
  }
}

/** The bytes of a peer break the protocol. */
export class ProtocolError extends IpcError {
  override readonly name: string = 'ProtocolError';
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_IPC_PROTOCOL', message, options);
  }
}

/** A system call failed. */
export class SystemError extends IpcError {
  override readonly name: string = 'SystemError';
  readonly syscall: string;
  readonly errno: string;
  constructor(syscall: string, errno: string, message: string, options?: ErrorOptions) {
    super('ERR_IPC_SYSTEM', message, options);
    this.syscall = syscall;
    this.errno = errno;
  }
}

/** What the other side said about a failure: never its stack. */
export interface RemoteFailure {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
}

/**
 * The handler on the other side failed (or gave no answer). `remote` has what it said.
 *
 * @example
 * catch (error) { if (error instanceof RemoteError && error.remote.code === 'ENOENT') return undefined; throw error; }
 */
export class RemoteError extends IpcError {
  override readonly name: string = 'RemoteError';
  readonly remote: RemoteFailure;
  constructor(remote: RemoteFailure) {
    super('ERR_IPC_REMOTE', remote.message);
    this.remote = remote;
  }
}

/** A span was used after its `release()`, or after its client left. A mistake of the caller, so not an {@link IpcError}. */
export class SpanReleasedError extends TypeError {
  override readonly name: string = 'SpanReleasedError';
  constructor() {
    super(
      'Expected a span that is still borrowed, got one that was released: copy what outlives release() or the client',
    );
  }
}

/**
 * Thrown by a handler, or given as an answer's `error`: answers that request (with `response`, or without one),
 * releases it, and shuts the server down.
 *
 * @example
 * await server.run((id, request) => { if (isQuit(request)) throw new ShutdownRequested(bye); return work(request); });
 */
export class ShutdownRequested extends Error {
  override readonly name: string = 'ShutdownRequested';
  readonly response: Uint8Array | undefined;
  constructor(response?: Uint8Array) {
    super('Shutdown requested');
    this.response = response;
  }
}
