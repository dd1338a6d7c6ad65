// The other side of every contestant of compare.mjs: as a spawned process, as a worker thread, or as a bare echo.
import { Socket } from 'node:net';
import { isMainThread, workerData } from 'node:worker_threads';
import { createIpc, RpcTarget } from '@spanwire/ipc-process';
import { newMessagePortRpcSession } from 'capnweb';
import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';

class Served extends RpcTarget {
  /**
   * @param {number} a
   * @param {number} b
   */
  add(a, b) {
    return a + b;
  }

  /** @param {Uint8Array} bytes */
  echo(bytes) {
    return bytes;
  }
}

if (!isMainThread) {
  const { kind, port } = workerData;
  if (kind === 'capnweb') newMessagePortRpcSession(port, new Served());
  else comlink.expose(new Served(), nodeEndpoint(port));
} else if (process.env['BARE'] !== undefined) {
  const socket = new Socket({ fd: 3 });
  socket.on('data', (chunk) => socket.write(chunk)).on('end', () => process.exit(0));
} else {
  const { exitStatus } = await createIpc({ init: new Served() }).startSpawnedProcess(process.argv);
  process.exit(exitStatus);
}
