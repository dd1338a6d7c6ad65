/** Serves from a thread that blocks: the same server as on the event loop, with its pump driven by a loop of its own. */
import { expectFunction, IpcError, show, type IpcRequest, type IpcServer } from '@spanwire/ipc-core';
import type { ShortHandler } from './pump.ts';
import type { ShmListener } from './shm-listener.ts';
import type { RunSyncOptions, SyncHandler } from './sync.ts';

const INFO_PARAMETER = 2;

/** Blocks until the server has shut down. Whatever ends it, the address is free and every connection closed. */
export function runSync(
  server: IpcServer,
  listener: ShmListener,
  handler: SyncHandler,
  options: RunSyncOptions | undefined,
): void {
  expectFunction('handler', handler);
  const stop = expectStop(options?.stop);
  const onListening = options?.onListening;
  if (onListening !== undefined) expectFunction('onListening', onListening);
  const stopIfAsked = (): void => {
    if (stop !== undefined && Atomics.load(stop, 0) !== 0) server.requestShutdown();
  };
  const unsubscribe = serve(server, handler, stopIfAsked);
  try {
    if (listener.used) throw new TypeError('Expected a server that was not asked to listen yet, got one that was');
    listener.listenSync();
  } catch (error) {
    unsubscribe();
    throw error;
  }
  // The listener listens already: this tells the server so.
  void server.listen();
  const { pump } = listener;
  // A handler that declares `info` gets it, by the usual way.
  const short: ShortHandler | undefined =
    handler.length > INFO_PARAMETER
      ? undefined
      : (clientId, request) => expectOutput((handler as ShortHandler)(clientId, request));
  try {
    onListening?.();
    while (!listener.over) {
      stopIfAsked();
      const count = pump.waitForBatch(Infinity);
      if (count === 1 && short !== undefined && pump.serveWaited(short)) continue;
      pump.handleWaited(count);
    }
  } finally {
    void listener.close();
    // Connections that never became clients, too.
    pump.close();
  }
  if (listener.failure !== undefined) throw listener.failure;
}

/** Answers what is delivered, at once, and calls `afterwards` after each. Returns what ends that. */
function serve(server: IpcServer, handler: SyncHandler, afterwards: () => void): () => void {
  const refusal: { error?: unknown; closed: boolean } = { closed: false };
  const subscription = server.requests$.subscribe({
    next: (request) => {
      answer(server, handler, request);
      // Many may have come at once: those that follow are refused.
      afterwards();
    },
    error: (error: unknown) => {
      refusal.error = error;
    },
    complete: () => {
      refusal.closed = true;
    },
  });
  if (refusal.error !== undefined) throw refusal.error;
  if (refusal.closed) throw new IpcError('ERR_IPC_CLOSED', 'Expected an open server, got one that was closed');
  return () => subscription.unsubscribe();
}

function answer(server: IpcServer, handler: SyncHandler, request: IpcRequest): void {
  const { clientId, requestId } = request;
  let data: Uint8Array | undefined;
  try {
    data = expectOutput(handler(clientId, request.span, request));
  } catch (error) {
    server.responses.next({ clientId, requestId, error: error ?? new Error(`The handler threw ${String(error)}`) });
    return;
  }
  server.responses.next({ clientId, requestId, data });
}

function expectOutput(output: unknown): Uint8Array | undefined {
  if (output instanceof Uint8Array || output === undefined) return output;
  if (output instanceof Promise) {
    // Its failure has been told already, as this one.
    output.catch(() => undefined);
  }
  const message = `Expected the handler of runSync to return a Uint8Array or undefined, got ${show(output)}`;
  throw new IpcError('ERR_IPC_UNSUPPORTED', message);
}

function expectStop(stop: unknown): Int32Array | undefined {
  if (stop === undefined) return undefined;
  if (stop instanceof Int32Array && stop.length > 0 && stop.buffer instanceof SharedArrayBuffer) return stop;
  throw new TypeError(`Expected \`stop\` to be an Int32Array on a SharedArrayBuffer, got ${show(stop)}`);
}
