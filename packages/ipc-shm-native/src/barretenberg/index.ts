/** Barretenberg's own layout: our client to its server, our server for its client, and both to each other. */
import {
  createClient,
  createServer,
  integerIn,
  type IpcClient,
  type IpcServer,
  type MakeConnect,
  type MakeListener,
} from '@spanwire/ipc-core';
import { connectBarretenberg } from './connect.ts';
import { BarretenbergListener } from './listener.ts';
import {
  barretenbergSettings,
  parseName,
  ringBytesIn,
  type BarretenbergClientOptions,
  type BarretenbergServerOptions,
  type BarretenbergSyncClientOptions,
} from './options.ts';
import { BarretenbergSyncClient } from './sync-client.ts';

export function barretenbergListener(name: string, options: BarretenbergServerOptions): MakeListener {
  const listener = {
    name: parseName(name),
    requestRingBytes: ringBytesIn('requestRingBytes', options.requestRingBytes),
    responseRingBytes: ringBytesIn('responseRingBytes', options.responseRingBytes),
    settings: barretenbergSettings(options),
  };
  return (context) => new BarretenbergListener(listener, context);
}

export function barretenbergConnect(name: string, options: BarretenbergClientOptions): MakeConnect {
  const bare = parseName(name);
  const settings = barretenbergSettings(options);
  return (context) => connectBarretenberg(bare, settings, context);
}

export function createBarretenbergServer(name: string, options: BarretenbergServerOptions): IpcServer {
  return createServer(barretenbergListener(name, options), options);
}

export function createBarretenbergClient(name: string, options: BarretenbergClientOptions): IpcClient {
  return createClient(barretenbergConnect(name, options), options);
}

export function createBarretenbergSyncClient(
  name: string,
  options: BarretenbergSyncClientOptions,
): BarretenbergSyncClient {
  const { maxMessageBytes, handshakeTimeoutMs } = options;
  return BarretenbergSyncClient.open(parseName(name), {
    ...barretenbergSettings(options),
    maxMessageBytes: integerIn('maxMessageBytes', maxMessageBytes, 1, 2 ** 30 - 1, 64 * 2 ** 20),
    handshakeTimeoutMs: integerIn('handshakeTimeoutMs', handshakeTimeoutMs, 1, 2 ** 31 - 1, 5000),
  });
}
