/** Many requests under way, in each of the ways that a client is written. */
import type { IpcClient } from '@spanwire/ipc-core';
import { requestEach } from '@spanwire/ipc-rx';
import { Observable, type Subscriber } from 'rxjs';
import type { BurstStyle, Style } from '../workload.ts';
import type { Measured } from './control.ts';
import type { Meter } from './meter.ts';

interface Depth<S> {
  readonly depth: number;
  readonly style?: S;
}

/** As many under way as `depth` says, at any time. */
export function windowed(
  client: IpcClient,
  message: Uint8Array,
  { depth, style = 'promise' }: Depth<Style>,
  meter: Meter,
): Promise<Measured> {
  return windows[style](client, message, depth, meter);
}

type Window = (client: IpcClient, message: Uint8Array, depth: number, meter: Meter) => Promise<Measured>;

const windows: Record<Style, Window> = {
  async promise(client, message, depth, meter) {
    const loop = async (): Promise<void> => {
      while (meter.open) {
        meter.sent();
        await client.request(message);
        meter.received();
      }
    };
    await Promise.all(Array.from({ length: depth }, loop));
    return meter.finish();
  },

  observable(client, message, depth, meter) {
    const call$ = client.request$(message);
    return new Promise((resolve, reject) => {
      const send = (): void => {
        meter.sent();
        call$.subscribe(observer);
      };
      const observer = {
        error: reject,
        complete() {
          meter.received();
          if (meter.open) send();
          else if (meter.underWay === 0) resolve(meter.finish());
        },
      };
      for (let i = 0; i < depth; i++) send();
    });
  },

  /** Replies ask for more payloads, so none ever waits. */
  requestEach(client, message, depth, meter) {
    let source: Subscriber<Uint8Array> | undefined;
    const payloads$ = new Observable<Uint8Array>((subscriber) => {
      source = subscriber;
    });
    const send = (): void => {
      meter.sent();
      source?.next(message);
    };
    return new Promise((resolve, reject) => {
      payloads$.pipe(requestEach(client, { concurrency: depth })).subscribe({
        next() {
          meter.received();
          if (meter.open) send();
          else if (meter.underWay === 0) source?.complete();
        },
        error: reject,
        complete: () => resolve(meter.finish()),
      });
      for (let i = 0; i < depth; i++) send();
    });
  },
};

/** As many at once as `depth` says, then none until all are answered. */
export async function bursts(
  client: IpcClient,
  message: Uint8Array,
  { depth, style }: Depth<BurstStyle>,
  meter: Meter,
): Promise<Measured> {
  if (style !== 'observable') {
    const call = async (): Promise<void> => {
      meter.sent();
      await client.request(message);
      meter.received();
    };
    while (meter.open) await Promise.all(Array.from({ length: depth }, call));
    return meter.finish();
  }
  const call$ = client.request$(message);
  return new Promise((resolve, reject) => {
    const send = (): void => {
      for (let i = 0; i < depth; i++) {
        meter.sent();
        call$.subscribe(observer);
      }
    };
    const observer = {
      error: reject,
      complete() {
        meter.received();
        if (meter.underWay > 0) return;
        if (meter.open) send();
        else resolve(meter.finish());
      },
    };
    send();
  });
}
