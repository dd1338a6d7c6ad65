import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { onceAborted } from '../src/abort-listeners.ts';

test('a hundred calls that share a signal are one listener of it, and all are told', () => {
  const controller = new AbortController();
  const told: unknown[] = [];
  for (let i = 0; i < 100; i++) onceAborted(controller.signal, (reason) => told.push(reason));
  expect(getEventListeners(controller.signal, 'abort').length).toBe(1);
  controller.abort('enough');
  expect(told).toEqual(Array(100).fill('enough'));
  expect(getEventListeners(controller.signal, 'abort').length).toBe(0);
});

test('the last one to be taken back takes the listener along, and the next one makes another', () => {
  const controller = new AbortController();
  const told: string[] = [];
  const first = onceAborted(controller.signal, () => told.push('first'));
  const second = onceAborted(controller.signal, () => told.push('second'));
  first();
  expect(getEventListeners(controller.signal, 'abort').length).toBe(1);
  second();
  expect(getEventListeners(controller.signal, 'abort').length).toBe(0);
  onceAborted(controller.signal, () => told.push('third'));
  controller.abort();
  expect(told).toEqual(['third']);
});

test('who is taken back while others are told is not told', () => {
  const controller = new AbortController();
  const told: string[] = [];
  onceAborted(controller.signal, () => {
    told.push('first');
    leave();
  });
  const leave = onceAborted(controller.signal, () => told.push('second'));
  controller.abort();
  expect(told).toEqual(['first']);
});
