import { PeerGoneError } from '@spanwire/ipc-core';
import type { ExitReport } from './child.ts';

/** A process ended before it served. `exit` says how; what it wrote to its stderr usually says why. */
export class ProcessExitedError extends PeerGoneError {
  override readonly name: string = 'ProcessExitedError';
  readonly exit: ExitReport;

  constructor(path: string, exit: ExitReport, options?: ErrorOptions) {
    const how = exit.signal === null ? `with code ${exit.code}` : `by signal ${exit.signal}`;
    super(`${path} exited ${how} before it served`, options);
    this.exit = exit;
  }
}
