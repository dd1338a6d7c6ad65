/** Waiting for conditions, without a guess of how long they take. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, vi } from 'vitest';
import type { IpcErrorCode } from '../errors.ts';

/** A watchdog against hangs, below the suite's own time limit so that the message says what was awaited. */
const WATCHDOG_MS = 120_000;
/** The limit of one test: with other work on the machine, a test may take long without being wrong. */
export const TEST_TIMEOUT_MS = 300_000;

/** The real one, also in tests that stop the time. */
const now = performance.now.bind(performance);

/** Resolves once `condition` holds; `what` names it when it never does. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  const giveUpAt = now() + WATCHDOG_MS;
  while (!condition()) {
    if (now() > giveUpAt) throw new Error(`Expected within ${WATCHDOG_MS} ms: ${what}`);
    await turn();
  }
}

/**
 * Resolves with `count()` once it stood still for a whole `conversation` of somebody else: whatever could still come has come, however long it
 * takes on this machine.
 */
export async function standsStill(count: () => number, conversation: () => Promise<void>): Promise<number> {
  for (;;) {
    const before = count();
    await conversation();
    if (count() === before) return before;
  }
}

/**
 * From now on, to the end of the test, the time of timeouts passes by `passTime` only: how long anything takes on this machine is no part of
 * the question.
 */
export function stopTime(): { readonly passTime: (ms: number) => void } {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  return { passTime: (ms) => void vi.advanceTimersByTime(ms) };
}

/** A turn of the event loop, with its timers. Fake timers do not touch it. */
export async function turn(): Promise<void> {
  await delay(1);
}

/** Expects a rejection with a code of Spanwire's. */
export async function expectCode(promise: Promise<unknown>, code: IpcErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ code });
}

/** A promise and its ends. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

/** What a promise rejects with; rejects when it does not. */
export function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => Promise.reject(new Error('Expected a rejection, got a value')),
    (error: unknown) => error,
  );
}
