import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestTable } from '../src/request-table.ts';
import type { ServerRequest } from '../src/server-request.ts';
import { WireTable } from '../src/wire-table.ts';

test('a table of wire ids behaves as a map, over the whole range of ids', () => {
  const id = fc.oneof(fc.nat(20), fc.integer({ min: 4090, max: 4100 }), fc.integer({ min: 0, max: 2 ** 28 - 1 }));
  fc.assert(
    fc.property(fc.array(fc.record({ id, add: fc.boolean() }), { maxLength: 200 }), (steps) => {
      const table = new WireTable<{ id: number }>();
      const model = new Map<number, { id: number }>();
      for (const { id, add } of steps) {
        if (add) {
          const value = { id };
          table.set(id, value);
          model.set(id, value);
        } else if (model.delete(id)) table.delete(id);
        expect(table.get(id)).toBe(model.get(id));
      }
      expect(new Set(table.values())).toEqual(new Set(model.values()));
    }),
  );
});

test('a table of requests finds each by its id, however long one stays open', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(6), { minLength: 1, maxLength: 60 }), fc.nat(40), (strides, keepEvery) => {
      const table = new RequestTable();
      const open = new Map<number, ServerRequest>();
      let requestId = 0;
      for (const [i, stride] of strides.entries()) {
        // Strides of a whole table land on the same slot again.
        requestId += stride % 2 === 0 ? 4096 : 1 + stride;
        const request = { requestId, clientId: i % 3 } as ServerRequest;
        table.add(request);
        open.set(requestId, request);
        if (keepEvery === 0 || i % keepEvery !== 0) {
          table.delete(request);
          open.delete(requestId);
          expect(table.get(requestId)).toBeUndefined();
        }
        for (const [known, of] of open) expect(table.get(known)).toBe(of);
        expect(table.size).toBe(open.size);
      }
      for (const clientId of [0, 1, 2]) {
        expect(new Set(table.ofClient(clientId))).toEqual(
          new Set([...open.values()].filter((request) => request.clientId === clientId)),
        );
      }
    }),
  );
});
