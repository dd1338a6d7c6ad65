/**
 * Listeners of AbortSignals, one per signal however many calls share it: Node warns of a leak from the eleventh on, and one signal for a
 * thousand calls is no leak.
 */
type OnAbort = (reason: unknown) => void;

const listening = new WeakMap<AbortSignal, Shared>();

/** Calls `onAbort` when `signal` aborts. Returns what takes it back. */
export function onceAborted(signal: AbortSignal, onAbort: OnAbort): () => void {
  const own = listening.get(signal) ?? listenTo(signal);
  own.waiting.add(onAbort);
  return () => {
    own.waiting.delete(onAbort);
    if (own.waiting.size > 0) return;
    listening.delete(signal);
    signal.removeEventListener('abort', own.tell);
  };
}

interface Shared {
  readonly waiting: Set<OnAbort>;
  readonly tell: () => void;
}

function listenTo(signal: AbortSignal): Shared {
  const waiting = new Set<OnAbort>();
  const shared: Shared = {
    waiting,
    tell: () => {
      listening.delete(signal);
      // Each may take itself or others back.
      for (const onAbort of waiting) if (waiting.delete(onAbort)) onAbort(signal.reason);
    },
  };
  listening.set(signal, shared);
  signal.addEventListener('abort', shared.tell, { once: true });
  return shared;
}
