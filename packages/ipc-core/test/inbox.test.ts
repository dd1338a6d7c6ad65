import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { KIND_DUPLEX_REQUEST, KIND_END, KIND_ITEM, KIND_ONE_WAY, KIND_REQUEST } from '../src/frame.ts';
import { Inbox } from '../src/inbox.ts';
import { ScriptedFrame } from './support/scripted-channel.ts';

type Step =
  | { readonly do: 'request' | 'item' | 'oneWay'; readonly id: number }
  | { readonly do: 'cancel'; readonly cancel: number }
  | { readonly do: 'shift' | 'park' | 'unpark' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('request', 'item', 'oneWay'), id: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel'), cancel: fc.nat(6) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('shift', 'park', 'unpark') }) },
);

test('what comes is delivered in order but for what is parked, each once, and released when it is cancelled', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const inbox = new Inbox();
      let queue: ScriptedFrame[] = [];
      let parked: ScriptedFrame[] = [];
      const cancelled: ScriptedFrame[] = [];
      const waiting = (id: number): ScriptedFrame | undefined =>
        [...parked, ...queue].find((frame) => frame.id === id && frame.kind <= KIND_DUPLEX_REQUEST);
      for (const each of steps) {
        if ('id' in each) {
          // The connection refuses an id that is in use before it comes here.
          if (each.do === 'request' && waiting(each.id) !== undefined) continue;
          const kind = { request: KIND_REQUEST, item: KIND_ITEM, oneWay: KIND_ONE_WAY }[each.do];
          const frame = new ScriptedFrame(kind, each.id);
          inbox.push(frame);
          queue.push(frame);
        } else if (each.do === 'shift' || each.do === 'park') {
          const first = inbox.peek();
          expect(first?.message).toBe(queue[0]);
          if (first === undefined) continue;
          const [frame] = queue.splice(0, 1);
          if (each.do === 'park') {
            inbox.park();
            parked.push(frame!);
          } else inbox.shift();
        } else if (each.do === 'unpark') {
          inbox.unpark();
          queue = [...parked, ...queue];
          parked = [];
        } else if ('cancel' in each) {
          const frame = waiting(each.cancel);
          expect(inbox.cancel(each.cancel)).toBe(frame !== undefined);
          if (frame !== undefined) cancelled.push(frame);
          queue = queue.filter((other) => other !== frame);
          parked = parked.filter((other) => other !== frame);
        }
        for (let id = 0; id <= 6; id++) {
          expect(inbox.hasRequest(id)).toBe(waiting(id) !== undefined);
          const input = [...parked, ...queue].some((frame) => frame.id === id && frame.kind === KIND_ITEM);
          expect(inbox.has(id)).toBe(waiting(id) !== undefined || input);
        }
        expect(inbox.requests).toBe([...parked, ...queue].filter(({ kind }) => kind <= KIND_DUPLEX_REQUEST).length);
      }
      expect(cancelled.every(({ releases }) => releases === 1)).toBe(true);
      const taken = inbox.takeRequests();
      expect(taken.map(({ id }) => id)).toEqual(
        [...parked, ...queue].filter(({ kind }) => kind <= KIND_DUPLEX_REQUEST).map(({ id }) => id),
      );
      expect(inbox.requests).toBe(0);
      inbox.keepOneWay();
      const rest: number[] = [];
      for (let first = inbox.peek(); first !== undefined; first = inbox.peek()) {
        rest.push(first.kind);
        inbox.shift();
      }
      expect(rest.every((kind) => kind === KIND_ONE_WAY)).toBe(true);
      expect(rest.length).toBe([...parked, ...queue].filter(({ kind }) => kind === KIND_ONE_WAY).length);
    }),
  );
});

test('only whole one-way messages are kept when the client has left', () => {
  const inbox = new Inbox();
  const frames = [
    new ScriptedFrame(KIND_ONE_WAY, 0),
    new ScriptedFrame(KIND_ITEM, 3),
    new ScriptedFrame(KIND_END, 3),
    new ScriptedFrame(KIND_ONE_WAY, 0),
  ];
  for (const frame of frames) inbox.push(frame);
  inbox.keepOneWay();
  expect(frames.map(({ releases }) => releases)).toEqual([0, 1, 1, 0]);
  expect(inbox.peek()?.message).toBe(frames[0]);
  inbox.shift();
  expect(inbox.peek()?.message).toBe(frames[3]);
  expect(inbox.has(3)).toBe(false);
});
