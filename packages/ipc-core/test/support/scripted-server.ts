/** A server whose clients are scripted channels. */
import type { Channel, Listener } from '../../src/channel.ts';
import type { ClientEvent, IpcServer } from '../../src/contract.ts';
import type { ServerOptions } from '../../src/options.ts';
import { createServer } from '../../src/server.ts';
import { ScriptedChannel, type ScriptedOptions } from './scripted-channel.ts';

export class ScriptedListener implements Listener {
  admit: Listener['admit'];
  onChannel: Listener['onChannel'];
  onTakeover: Listener['onTakeover'];
  onError: Listener['onError'];
  listening = false;
  closed = false;

  listen(): Promise<void> {
    this.listening = true;
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  ref(): void {}
  unref(): void {}
}

export interface ScriptedServer {
  readonly server: IpcServer;
  readonly listener: ScriptedListener;
  readonly events: ClientEvent[];
  readonly connect: <T extends Channel>(channel: T) => T;
  /** A new client. */
  readonly client: (options?: ScriptedOptions) => ScriptedChannel;
}

export function scriptedServer(options?: ServerOptions): ScriptedServer {
  const listener = new ScriptedListener();
  const server = createServer(() => listener, options);
  const events: ClientEvent[] = [];
  server.clients$.subscribe((event) => events.push(event));
  const connect = <T extends Channel>(channel: T): T => {
    listener.onChannel?.(channel);
    return channel;
  };
  return { server, listener, events, connect, client: (of) => connect(new ScriptedChannel(of)) };
}
