import { expect, test } from 'vitest';
import { nowNs } from '../src/worker/clock.ts';
import { Meter } from '../src/worker/meter.ts';
import { openLoop } from '../src/worker/open-loop.ts';
import { Samples } from '../src/worker/samples.ts';

function block(ms: number): void {
  const endNs = nowNs() + ms * 1e6;
  while (nowNs() < endNs);
}

test('percentiles come from all samples, with the cost of the clock taken off each', () => {
  const samples = new Samples(40);
  for (let i = 1; i <= 1000; i++) samples.add(i * 1000 + 40);
  const { latency, perSecond } = samples.take();
  // Three significant digits are kept.
  expect(latency?.p50Ns).toBeCloseTo(500_000, -3);
  expect(latency?.p99Ns).toBeCloseTo(990_000, -3);
  expect(latency?.p999Ns).toBeCloseTo(999_000, -3);
  expect(perSecond).toBeCloseTo(1e9 / 500_500, 0);
});

test('a measurement starts without the samples of the one before', () => {
  const samples = new Samples(0);
  samples.add(1e6);
  samples.take();
  samples.add(10);
  expect(samples.take().latency?.p99Ns).toBe(10);
  expect(samples.take()).toEqual({ latency: null, perSecond: null });
});

test('more samples than fit at once are all counted', () => {
  const samples = new Samples(0);
  const many = (1 << 19) + 1000;
  for (let i = 0; i < many; i++) samples.add(i < many / 2 ? 100 : 300);
  expect(samples.take().perSecond).toBeCloseTo(1e9 / 200, -3);
});

test('a meter pairs answers with messages in order, also when many answers come at once', () => {
  const samples = new Samples(0);
  const meter = new Meter(samples, 1, { depth: 64, bytes: 64 });
  // The first is sent long before the others; of 64 only it is timed.
  meter.sent();
  block(2);
  for (let i = 1; i < 64; i++) meter.sent();
  expect(meter.underWay).toBe(64);
  meter.received(64);
  expect(meter.underWay).toBe(0);
  expect(meter.open).toBe(false);
  const { latency, perSecond } = meter.finish();
  expect(latency?.p50Ns).toBeGreaterThanOrEqual(2e6 * 0.999);
  expect(perSecond).toBeLessThan(64 / 0.002);
});

test('every large message is timed', () => {
  const samples = new Samples(0);
  const meter = new Meter(samples, 1000, { depth: 2, bytes: 1 << 20 });
  meter.sent();
  meter.sent();
  meter.received();
  block(2);
  meter.received();
  const latency = meter.finish().latency;
  expect(latency?.p99Ns).toBeGreaterThanOrEqual(2e6 * 0.999);
  expect(latency?.cdfNs[0]).toBeLessThan(latency?.p99Ns ?? 0);
});

test('in an open loop everybody who had come during a stall is late, not just the one who saw it', async () => {
  const samples = new Samples(0);
  let sent = 0;
  const { latency, perSecond } = await openLoop(
    (onAnswer) => {
      // The first request stalls for 50 of the 100 ms in which 100 requests are due.
      if (sent++ === 0) block(50);
      onAnswer();
    },
    1000,
    100,
    samples,
  );
  expect(sent).toBe(100);
  // Those due while it lasted waited 25 ms on average: at least a tenth of all waited for 35 ms or more.
  expect(latency?.cdfNs[12]).toBeGreaterThanOrEqual(35e6);
  expect(perSecond).toBeLessThanOrEqual(1000 * 1.02);
});
