import { nowNs } from './clock.ts';
import type { Measured } from './control.ts';
import type { Samples } from './samples.ts';

/** More than this is not sent at once; a message that has to wait for it still counts from its intended time. */
const MAX_UNDER_WAY = 1000;

/**
 * Sends at fixed times, `perSecond` of them, answered or not. A latency counts from the intended time: when the server stalls, all those
 * who would have come meanwhile are late, not just one. (Else the stall is hidden: "coordinated omission".)
 *
 * The loop never sleeps: a timer would be late by more than most latencies. `send` calls `onAnswer` when its answer is there.
 */
export function openLoop(
  send: (onAnswer: () => void) => void,
  perSecond: number,
  ms: number,
  samples: Samples,
): Promise<Measured> {
  const stepNs = 1e9 / perSecond;
  const total = Math.max(1, Math.floor((ms / 1000) * perSecond));
  const beginNs = nowNs();
  let sent = 0;
  let answered = 0;
  return new Promise((resolve) => {
    const onTurn = (): void => {
      const now = nowNs();
      while (sent < total && sent - answered < MAX_UNDER_WAY && beginNs + sent * stepNs <= now) {
        const intendedNs = beginNs + sent * stepNs;
        sent++;
        send(() => {
          const doneNs = nowNs();
          samples.add(doneNs - intendedNs);
          if (++answered < total) return;
          const seconds = (doneNs - beginNs) / 1e9;
          resolve({ latency: samples.take().latency, perSecond: total / seconds, bytesPerClient: null });
        });
      }
      if (sent < total) setImmediate(onTurn);
    };
    onTurn();
  });
}
