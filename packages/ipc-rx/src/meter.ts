import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { originOf, type IpcRequest, type IpcResponse } from '@spanwire/ipc-core';
import { interval, map, type MonoTypeOperatorFunction, type Observable } from 'rxjs';
import { integerIn, show } from './arguments.ts';
import { serverSideOf } from './server-side.ts';
import { through } from './through.ts';

/** What a {@link Meter} has seen, at one moment. All but `inFlight` only grow. */
export interface MeterSnapshot {
  readonly requests: number;
  /** Requests whose answer is not given to the sink yet. */
  readonly inFlight: number;
  readonly requestBytes: number;
  /** Answers of any kind; 0 unless the meter sees answers, too. */
  readonly answers: number;
  /** Those among them that are errors. */
  readonly errors: number;
  /** Bytes of answers; items of streams are not counted. */
  readonly answerBytes: number;
  /** From the meter to the answer, in nanoseconds, of the requests that were measured. */
  readonly latencyNs: {
    readonly count: number;
    readonly min: number;
    readonly mean: number;
    readonly p50: number;
    readonly p99: number;
    readonly max: number;
  };
}

/** Counts and latencies; one may serve several pipelines. Made by {@link createMeter}. */
export class Meter {
  /** Nanoseconds from the meter to the answer, at 3 significant digits. */
  readonly latency: RecordableHistogram = createHistogram();
  requests = 0;
  done = 0;
  requestBytes = 0;
  answers = 0;
  errors = 0;
  answerBytes = 0;
  /** Requests until the next measurement. */
  #untilNext = 1;
  #stride = 1;
  #measuredMs = 0;

  snapshot(): MeterSnapshot {
    const { latency, requests, requestBytes, answers, errors, answerBytes } = this;
    return {
      requests,
      inFlight: requests - this.done,
      requestBytes,
      answers,
      errors,
      answerBytes,
      latencyNs: {
        count: latency.count,
        min: latency.count === 0 ? 0 : latency.min,
        mean: latency.count === 0 ? 0 : latency.mean,
        p50: latency.percentile(50),
        p99: latency.percentile(99),
        max: latency.max,
      },
    };
  }

  /** A snapshot now and then: every `everyMs` milliseconds, 1 to 2^31 - 1, while subscribed. */
  snapshots$(everyMs: number): Observable<MeterSnapshot> {
    integerIn('everyMs', everyMs, 1, 2 ** 31 - 1);
    return interval(everyMs).pipe(map(() => this.snapshot()));
  }

  /**
   * The time when a measurement starts, or undefined for a request that is only counted. The clock and the histogram cost more than a fast
   * handler: below 10,000 requests a second all are measured, above it every second, fourth, ... up to every 64th.
   */
  startMeasurement(): number | undefined {
    if (--this.#untilNext > 0) return undefined;
    const nowMs = performance.now();
    const sinceLastMs = nowMs - this.#measuredMs;
    if (sinceLastMs < 0.05) this.#stride = Math.min(64, this.#stride * 2);
    else if (sinceLastMs > 0.1) this.#stride = Math.max(1, this.#stride >> 1);
    this.#measuredMs = nowMs;
    this.#untilNext = this.#stride;
    return nowMs;
  }

  endMeasurement(startedMs: number): void {
    this.latency.record(Math.max(1, Math.round((performance.now() - startedMs) * 1e6)));
  }
}

/** Makes a {@link Meter}, for {@link meter}. */
export function createMeter(): Meter {
  return new Meter();
}

/**
 * Counts what passes into `observer`: requests and their bytes, latency from here to the answer, and, put after the handler as well, answers.
 *
 *     requests   --a----b--|
 *     answers    ----A------B
 *     meter(m)
 *     result     --a----b--|      m.latency gets 2 and 4 frames
 *
 * Memory: a few numbers and one histogram of fixed size. Backpressure, errors and completion pass through. Unsubscribe: the source is left;
 * requests that passed are still measured.
 *
 * Cost: see the README; clock and histogram are used for a part of the requests when there are more than 10,000 a second.
 *
 * @example
 * const traffic = createMeter();
 * server.requests$.pipe(meter(traffic), handle(work), meter(traffic)).subscribe(server.responses);
 * traffic.snapshots$(1_000).subscribe(({ requests, latencyNs }) => log.info({ requests, p99: latencyNs.p99 }));
 */
export function meter<T extends IpcRequest | IpcResponse>(observer: Meter): MonoTypeOperatorFunction<T> {
  if (!(observer instanceof Meter)) {
    throw new TypeError(`Expected \`observer\` to be made by createMeter(), got ${show(observer)}`);
  }
  const onDone = (): void => {
    observer.done++;
  };
  return (source) =>
    through(source, (out) => ({
      next: (value) => {
        if (isRequest(value)) {
          const origin = serverSideOf(value);
          observer.requests++;
          observer.requestBytes += value.span.length;
          const startedMs = observer.startMeasurement();
          out.next(value);
          origin.whenDone(onDone);
          if (startedMs !== undefined) origin.whenDone(() => observer.endMeasurement(startedMs));
          return;
        }
        observer.answers++;
        if (value.data !== undefined) observer.answerBytes += value.data.length;
        else if (value.error !== undefined) observer.errors++;
        out.next(value);
      },
    }));
}

function isRequest(value: IpcRequest | IpcResponse): value is IpcRequest {
  return originOf(value) !== undefined || 'span' in value;
}
