/** What the addon throws about this layout, as errors of Spanwire. */
import { IpcError, PeerGoneError } from '@spanwire/ipc-core';
import { errnoName, toIpcError } from '../failures.ts';
import { isNativeFailure } from '../addon.ts';

/** The name of the errno in `error`, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return isNativeFailure(error) && error.kind === 'system' ? errnoName(error.errno) : undefined;
}

/** What a client is told that could not attach to `name`. */
export function toConnectError(error: unknown, name: string): unknown {
  const options = { cause: error };
  switch (errnoOf(error)) {
    case 'ENOENT':
      return new PeerGoneError(`Expected a server that made the shared memory ${name}, got none`, options);
    case 'ESRCH':
      return serverGone(name, options);
    case 'EBUSY':
      return new IpcError(
        'ERR_IPC_OVERLOADED',
        `Expected the shared memory ${name} to have no client yet, got another one: this layout takes one at a time ` +
          '(and if that is wrong, `peerPid` says which process is the server)',
        options,
      );
    default:
      return toIpcError(error, `connecting to the shared memory ${name}`);
  }
}

/** The names are there, and nobody behind them. */
export function serverGone(name: string, options?: ErrorOptions): PeerGoneError {
  return new PeerGoneError(
    `Expected the server that made the shared memory ${name} to be alive, got stale names`,
    options,
  );
}
