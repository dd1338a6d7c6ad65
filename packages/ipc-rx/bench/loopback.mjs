// @ts-check
/** A server on a channel that costs next to nothing: what is left is the server itself and its pipeline. */
import { setImmediate } from 'node:timers/promises';
import { createServer, KIND_REQUEST, PROTOCOL_VERSION } from '@spanwire/ipc-core';

const BATCH = 256;

/** @implements {Channel} @typedef {import('@spanwire/ipc-core').Channel} Channel */
class LoopbackChannel {
  framing = /** @type {const} */ ('spanwire');
  peer = undefined;
  hello;
  capacityBytes = 1 << 20;
  midFrame = false;
  /** @type {Channel['onRoom']} */
  onRoom = undefined;
  /** @type {Channel['onFrames']} */
  onFrames = undefined;
  /** @type {Channel['onClosed']} */
  onClosed = undefined;
  answers = 0;

  /** @param {import('@spanwire/ipc-core').Hello} hello */
  constructor(hello) {
    this.hello = { ...hello, version: PROTOCOL_VERSION };
  }

  /** @param {'data' | 'control'} lane */
  trySend(lane) {
    if (lane === 'data') this.answers++;
    return true;
  }

  close() {
    this.onClosed?.('closed');
    return Promise.resolve();
  }

  ref() {}
  unref() {}
}

/** A received request, made for each message as a transport would. */
class LoopbackFrame {
  kind = KIND_REQUEST;
  flags = 0;
  owned = true;

  /** @param {number} id @param {Uint8Array<ArrayBuffer>} payload */
  constructor(id, payload) {
    this.id = id;
    this.payload = payload;
  }

  release() {}
}

/** Nanoseconds per request of `pipeline`, in one round. Make it once, and measure often. @param {() => import('./pipelines.mjs').Pipeline} pipeline */
export async function loopback(pipeline) {
  /** @type {import('@spanwire/ipc-core').Listener | undefined} */
  let listener;
  /** @type {LoopbackChannel | undefined} */
  let channel;
  const server = createServer(({ hello }) => {
    listener = {
      admit: undefined,
      onChannel: undefined,
      onTakeover: undefined,
      onError: undefined,
      listen: () => Promise.resolve(),
      close: () => Promise.resolve(),
      ref: () => {},
      unref: () => {},
    };
    channel = new LoopbackChannel(hello);
    return listener;
  });
  await server.listen();
  listener?.onChannel?.(/** @type {LoopbackChannel} */ (channel));
  server.requests$.pipe(pipeline()).subscribe(server.responses);
  const payload = new Uint8Array(64);

  return {
    /** @param {number} batches */
    async round(batches) {
      if (channel === undefined) throw new Error('no channel');
      const wanted = channel.answers + batches * BATCH;
      const startMs = performance.now();
      for (let batch = 0; batch < batches; batch++) {
        const frames = [];
        for (let id = 0; id < BATCH; id++) frames.push(new LoopbackFrame(id + 1, payload));
        channel.onFrames?.(frames);
        // Pipelines that answer later do so before the next batch: their clients have 256 open as well.
        while (channel.answers < wanted - (batches - batch - 1) * BATCH) await setImmediate();
        // A turn of the event loop now and then, as with any transport.
        if (batch % 16 === 15) await setImmediate();
      }
      return ((performance.now() - startMs) * 1e6) / (batches * BATCH);
    },
    close: () => server.close(),
  };
}
