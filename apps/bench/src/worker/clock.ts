/** Nanoseconds on this process's clock. */
export function nowNs(): number {
  return performance.now() * 1e6;
}

/** What one reading costs: the median of the steps between readings that follow each other at once. */
export function clockCostNs(): number {
  const steps = new Float64Array(20_001);
  for (let turn = 0; turn < 2; turn++) {
    // The second turn counts: by then the loop is compiled.
    for (let i = 0, last = nowNs(); i < steps.length; i++) {
      const next = nowNs();
      steps[i] = next - last;
      last = next;
    }
  }
  return steps.sort()[steps.length >> 1] ?? 0;
}
