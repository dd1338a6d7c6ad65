/** A client whose server is the test: each attempt to connect waits for its outcome. */
import type { Channel } from '../../src/channel.ts';
import { createClient } from '../../src/client.ts';
import type { ClientState, IpcClient } from '../../src/contract.ts';
import type { ClientOptions } from '../../src/options.ts';
import { ScriptedChannel, type ScriptedOptions } from './scripted-channel.ts';

export interface Attempt {
  readonly signal: AbortSignal;
  /** Lets the attempt succeed. */
  accept(options?: ScriptedOptions): Promise<ScriptedChannel>;
  reject(error: unknown): Promise<void>;
}

export interface ScriptedClient {
  readonly client: IpcClient;
  readonly attempts: Attempt[];
  readonly states: ClientState[];
}

/** Lets what was resolved take effect. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

export function scriptedClient(options?: ClientOptions): ScriptedClient {
  const attempts: Attempt[] = [];
  const states: ClientState[] = [];
  const client = createClient(
    () => (signal) =>
      new Promise<Channel>((resolve, reject) => {
        attempts.push({
          signal,
          accept: async (of) => {
            const channel = new ScriptedChannel(of);
            resolve(channel);
            await settle();
            return channel;
          },
          reject: async (error) => {
            reject(error);
            await settle();
          },
        });
      }),
    options,
  );
  client.state$.subscribe((state) => states.push(state));
  return { client, attempts, states };
}

/** A client that is connected to a scripted channel. */
export async function connectedClient(
  options?: ClientOptions,
  channelOptions?: ScriptedOptions,
): Promise<ScriptedClient & { readonly channel: ScriptedChannel }> {
  const scripted = scriptedClient(options);
  const connecting = scripted.client.connect();
  const channel = await scripted.attempts[0]!.accept(channelOptions);
  await connecting;
  return { ...scripted, channel };
}
