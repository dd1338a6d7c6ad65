import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { chargeOf } from '../src/frame.ts';
import { ReceiveWindow, SendWindow } from '../src/window.ts';

test('a frame costs its bytes and its header, and 64 at least', () => {
  expect([0, 1, 55, 56, 57, 1000].map((length) => chargeOf(length))).toEqual([64, 64, 64, 64, 65, 1008]);
});

test('whatever is sent and released when, no byte of the window is lost, and none is invented', () => {
  const windowBytes = 8192;
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(4000), fc.constantFrom('release', 'settle')), { maxLength: 400 }),
      fc.infiniteStream(fc.nat()),
      (steps, choices) => {
        let credited = 0;
        const send = new SendWindow(windowBytes);
        const receive = new ReceiveWindow(windowBytes, (bytes) => {
          credited += bytes;
          send.give(bytes);
        });
        const held: number[] = [];
        let spent = 0;
        for (const each of steps) {
          if (each === 'settle') receive.settle();
          else if (each === 'release') {
            const [charge] = held.splice(choices.next().value % Math.max(1, held.length), 1);
            if (charge !== undefined) receive.release(charge);
          } else if (typeof each === 'number') {
            const charge = chargeOf(each);
            if (!send.tryTake(charge)) continue;
            spent += charge;
            receive.take(charge);
            held.push(charge);
          }
          const heldBytes = held.reduce((sum, charge) => sum + charge, 0);
          expect(receive.heldBytes).toBe(heldBytes);
          expect(spent - credited).toBeGreaterThanOrEqual(heldBytes);
          expect(spent - credited).toBeLessThanOrEqual(windowBytes);
        }
        for (const charge of held) receive.release(charge);
        // With nothing held, the largest piece of a message passes: a sender never waits for ever.
        expect(send.tryTake(chargeOf(windowBytes / 4 - 8))).toBe(true);
      },
    ),
  );
});

test('small releases are given back in a settle while others are held', () => {
  const credits: number[] = [];
  const window = new ReceiveWindow(8192, (bytes) => credits.push(bytes));
  for (let i = 0; i < 128; i++) window.take(64);
  window.release(64);
  expect(credits).toEqual([]);
  window.settle();
  expect(credits).toEqual([64]);
  window.settle();
  expect(credits).toEqual([64]);
});

test('data beyond the window, and credit beyond what was spent, break the protocol', () => {
  const receive = new ReceiveWindow(8192, () => undefined);
  receive.take(8192);
  expect(() => receive.take(64)).toThrow(expect.objectContaining({ code: 'ERR_IPC_PROTOCOL' }));
  // Released, but not told to the sender: it cannot know.
  const lazy = new ReceiveWindow(8192, () => undefined);
  lazy.take(8192 - 64);
  lazy.release(64);
  expect(() => lazy.take(64)).not.toThrow();
  expect(() => lazy.take(64)).toThrow(expect.objectContaining({ code: 'ERR_IPC_PROTOCOL' }));
  const send = new SendWindow(8192);
  expect(send.tryTake(100)).toBe(true);
  expect(() => send.give(101)).toThrow(expect.objectContaining({ code: 'ERR_IPC_PROTOCOL' }));
  send.give(100);
  expect(send.tryTake(8192)).toBe(true);
  expect(send.tryTake(1)).toBe(false);
});
