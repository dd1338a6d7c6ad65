/** What the addon throws, as errors of Spanwire. */
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { IpcError, PeerGoneError, ProtocolError, SystemError } from '@spanwire/ipc-core';
import { isNativeFailure } from './addon.ts';

/** The name of an errno, such as ENOENT. */
export function errnoName(errno: number): string {
  return getSystemErrorMap().has(-errno) ? getSystemErrorName(-errno) : `errno ${errno}`;
}

/** The error that stands for `error`, which came from the addon while `doing` something. */
export function toIpcError(error: unknown, doing: string): unknown {
  if (!isNativeFailure(error)) return error;
  const options = { cause: error };
  if (error.kind === 'unsupported') {
    return new IpcError(
      'ERR_IPC_UNSUPPORTED',
      `Shared memory is not supported on ${process.platform}: ${error.operation}`,
      options,
    );
  }
  if (error.kind === 'protocol') return new ProtocolError(`Expected ${doing} to work, got: ${error.message}`, options);
  const name = errnoName(error.errno);
  if (name === 'ENOENT' || name === 'ECONNREFUSED') {
    return new PeerGoneError(`Expected a server when ${doing}, got ${name}: nobody listens there`, options);
  }
  if (name === 'EACCES' || name === 'EPERM') {
    return new IpcError('ERR_IPC_UNAUTHORIZED', `Expected ${doing} to be allowed, got ${name}`, options);
  }
  if (name === 'EADDRINUSE') {
    return new IpcError(
      'ERR_IPC_ADDRESS_IN_USE',
      `Expected a free address when ${doing}, got one that is in use`,
      options,
    );
  }
  return new SystemError(
    error.operation,
    name,
    `Expected ${doing} to work, got ${name} from ${error.operation}`,
    options,
  );
}

/** Runs `body`; what the addon throws becomes an error of Spanwire. */
export function translating<T>(doing: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw toIpcError(error, doing);
  }
}
