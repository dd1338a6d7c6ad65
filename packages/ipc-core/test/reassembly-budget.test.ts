import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ReassemblyBudget, type Reservation } from '../src/reassembly-budget.ts';

test('reservations are granted in order of arrival, never more than there is, and all of it comes back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 100 }), fc.record({ giveBack: fc.nat(30) })), { maxLength: 200 }),
      (steps) => {
        const budget = new ReassemblyBudget(100);
        const all: Array<{ bytes: number; order: number; reservation: Reservation }> = [];
        const granted: number[] = [];
        let order = 0;
        for (const each of steps) {
          if (typeof each === 'number') {
            const mine = order++;
            const reservation = budget.reserve(each, () => granted.push(mine));
            if (reservation.granted) granted.push(mine);
            all.push({ bytes: each, order: mine, reservation });
          } else {
            const [one] = all.splice(each.giveBack % Math.max(1, all.length), 1);
            one?.reservation.giveBack();
            one?.reservation.giveBack();
          }
          const used = all.filter(({ reservation }) => reservation.granted).reduce((sum, { bytes }) => sum + bytes, 0);
          expect(budget.usedBytes).toBe(used);
          expect(used).toBeLessThanOrEqual(100);
          // Who waits is behind who was granted, and the first who waits does not fit.
          const waiting = all.filter(({ reservation }) => !reservation.granted);
          if (waiting.length > 0) expect(used + waiting[0]!.bytes).toBeGreaterThan(100);
        }
        expect(granted).toEqual(granted.toSorted((a, b) => a - b));
        for (const { reservation } of all) reservation.giveBack();
        expect(budget.usedBytes).toBe(0);
      },
    ),
  );
});

test('one who leaves the queue lets those behind through', () => {
  const budget = new ReassemblyBudget(100);
  const granted: string[] = [];
  const first = budget.reserve(60, () => granted.push('first'));
  const large = budget.reserve(100, () => granted.push('large'));
  budget.reserve(40, () => granted.push('small'));
  expect(granted).toEqual([]);
  large.giveBack();
  expect(granted).toEqual(['small']);
  first.giveBack();
  expect(budget.usedBytes).toBe(40);
});
