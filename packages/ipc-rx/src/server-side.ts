import { originOf, type RequestOrigin } from '@spanwire/ipc-core';
import { show } from './arguments.ts';

/** The server's side of `request`; throws where there is none, since an operator that counts would then count for ever. */
export function serverSideOf(request: object): RequestOrigin {
  const origin = originOf(request);
  if (origin === undefined) {
    throw new TypeError(
      `Expected a request as a server delivers it (no spread copy: that has only its ids), got ${show(request)}`,
    );
  }
  return origin;
}
