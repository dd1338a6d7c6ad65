/** What the system's refusals mean to users of Spanwire. */
import { IpcError, PeerGoneError, SystemError } from '@spanwire/ipc-core';

/** The `code` of an error of Node's, such as `ENOENT`. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Wraps an error of Node's as ERR_IPC_SYSTEM; an {@link IpcError} or a caller's mistake passes unchanged. */
export function systemError(what: string, error: unknown): Error {
  if (error instanceof IpcError || error instanceof TypeError || error instanceof RangeError) return error;
  const errno = errnoOf(error) ?? 'UNKNOWN';
  const syscall =
    typeof error === 'object' && error !== null && 'syscall' in error && typeof error.syscall === 'string'
      ? error.syscall
      : 'unknown';
  return new SystemError(syscall, errno, `${what}: ${errno}`, { cause: error });
}

/** Why a connection attempt failed. */
export function connectError(address: string, error: unknown): Error {
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return new PeerGoneError(`Nobody listens on ${address}`, { cause: error });
    case 'ECONNRESET':
    case 'EPIPE':
      return new PeerGoneError(`The server on ${address} closed the connection`, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return new IpcError('ERR_IPC_UNAUTHORIZED', `No permission to connect to ${address}`, { cause: error });
    default:
      return systemError(`Connecting to ${address} failed`, error);
  }
}
