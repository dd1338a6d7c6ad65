import { ProtocolError, type PeerHello } from '@spanwire/ipc-core';

/** The smallest window that the options allow. */
const MIN_WINDOW_BYTES: number = 8 * 1024;

/** Throws ProtocolError unless `hello` offers a window that messages can pass. */
export function expectWindow(hello: PeerHello): void {
  if (hello.windowBytes < MIN_WINDOW_BYTES) {
    throw new ProtocolError(
      `Expected a hello with a window of at least ${MIN_WINDOW_BYTES} bytes, got ${hello.windowBytes}`,
    );
  }
}
