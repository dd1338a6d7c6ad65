import { IpcError, originOf, type IpcRequest } from '@spanwire/ipc-core';

/** Whether a request that waited can still be started. What cannot is released here. */
export function canStart(request: IpcRequest): boolean {
  if (originOf(request)?.ended === true) {
    request.release();
    return false;
  }
  return !isReleased(request);
}

/** Whether the span of `request` was given back. */
export function isReleased(request: IpcRequest): boolean {
  try {
    void request.span;
    return false;
  } catch {
    return true;
  }
}

/** Answers a request that nobody will start with ERR_IPC_REFUSED, so that its client may send it again. */
export function refuse(request: IpcRequest): void {
  originOf(request)?.fail(new IpcError('ERR_IPC_REFUSED', 'The server stopped before it started this request'));
  request.release();
}
