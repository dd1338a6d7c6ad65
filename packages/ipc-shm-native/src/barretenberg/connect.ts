/** Opens a channel to a server in this layout. */
import { setTimeout as delay } from 'node:timers/promises';
import { KIND_RESPONSE, type ClientContext, type Connect } from '@spanwire/ipc-core';
import { wakesBy } from '../runtime.ts';
import { Attempt, LOOK_AGAIN_MS, type Attached } from './attach.ts';
import { BarretenbergChannel } from './channel.ts';
import { Inlet } from './inlet.ts';
import type { BarretenbergSettings } from './options.ts';

export function connectBarretenberg(name: string, settings: BarretenbergSettings, context: ClientContext): Connect {
  return async (signal) => {
    signal.throwIfAborted();
    // The wire calls back before there is a channel: with nothing yet.
    const made: { channel?: BarretenbergChannel } = {};
    const attempt = new Attempt(
      {
        name,
        wakesBy: wakesBy(),
        onBatch: (count) => made.channel?.batch(count),
        onEvent: (event) => made.channel?.event(event),
      },
      settings,
    );
    const { wire, peer } = await ready(attempt, context.settings.handshakeTimeoutMs, signal);
    const { responseWindowBytes, maxMessageBytes } = context.settings;
    made.channel = new BarretenbergChannel({
      wire,
      inlet: new Inlet(wire, {
        kind: KIND_RESPONSE,
        windowBytes: responseWindowBytes,
        maxMessageBytes,
        pauses: false,
      }),
      side: 'client',
      peer,
      onOver: () => wire.close(),
    });
    return made.channel;
  };
}

async function ready(attempt: Attempt, timeoutMs: number, signal: AbortSignal): Promise<Attached> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const attached = attempt.look();
    if (attached !== undefined) return attached;
    if (performance.now() >= deadline) throw attempt.timedOut(timeoutMs);
    try {
      await delay(LOOK_AGAIN_MS, undefined, { signal });
    } catch {
      attempt.close();
      throw signal.reason;
    }
  }
}
