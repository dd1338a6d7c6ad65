import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Deque } from '../src/deque.ts';

type Step =
  | { readonly do: 'push' | 'unshift'; readonly value: number }
  | { readonly do: 'shift' | 'peek' | 'drain' }
  | { readonly do: 'remove' | 'replace'; readonly at: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('push' as const), value: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('unshift' as const), value: fc.nat() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('shift' as const, 'peek' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('remove' as const, 'replace' as const), at: fc.nat(50) }) },
);

test('whatever is done to it, it behaves as an array does', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const deque = new Deque<{ value: number }>();
      let model: Array<{ value: number }> = [];
      for (const each of steps) {
        if ('value' in each) {
          const item = { value: each.value };
          deque[each.do](item);
          model[each.do](item);
        } else if ('at' in each) {
          const item = model[each.at] ?? { value: -1 };
          const known = each.at < model.length;
          if (each.do === 'remove') {
            expect(deque.remove(item)).toBe(known);
            if (known) model.splice(each.at, 1);
          } else {
            const replacement = { value: -2 };
            deque.replace(item, replacement);
            if (known) model[each.at] = replacement;
          }
        } else if (each.do === 'shift') expect(deque.shift()).toBe(model.shift());
        else if (each.do === 'peek') expect(deque.peek()).toBe(model[0]);
        else {
          expect(deque.drain()).toEqual(model);
          model = [];
        }
        expect(deque.length).toBe(model.length);
      }
      expect(deque.drain()).toEqual(model);
    }),
  );
});

test('a long queue keeps its order while its front is given back', () => {
  const deque = new Deque<number>();
  let next = 0;
  let expected = 0;
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 300; i++) deque.push(next++);
    for (let i = 0; i < 250; i++) expect(deque.shift()).toBe(expected++);
  }
  expect(deque.length).toBe(next - expected);
  while (deque.length > 0) expect(deque.shift()).toBe(expected++);
  expect(deque.shift()).toBeUndefined();
});

test('grows and gives its memory back any number of times, in order', () => {
  const deque = new Deque<number>();
  for (const size of [1, 16, 17, 5_000, 3, 20_000]) {
    for (let i = 0; i < size; i++) deque.push(i);
    for (let i = 0; i < size; i++) expect(deque.shift()).toBe(i);
    expect(deque.shift()).toBeUndefined();
  }
});
