const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** npm passes Ctrl-C on, so that one press of the keys arrives twice, on a busy machine not at once: the second within this time means nothing. */
const ECHO_MS = 2000;

/** Aborts with the first Ctrl-C, SIGTERM or SIGHUP. The next one ends this process, and with it the others. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  let firstMs = 0;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (!controller.signal.aborted) {
        firstMs = performance.now();
        controller.abort();
      } else if (performance.now() - firstMs > ECHO_MS) {
        process.exit(130);
      }
    });
  }
  return controller.signal;
}
