/** Everything at once, through the smallest windows: what a test of one thing at a time cannot find. */
import { from, lastValueFrom, map, take, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import type { Bytes, HandlerOutput, IpcClient, IpcRequest } from '../src/contract.ts';
import { eventually } from '../src/testing/eventually.ts';
import { serve } from '../src/testing/fixture.ts';
import { pattern, readU32, sameBytes, u32 } from '../src/testing/payloads.ts';
import type { TransportUnderTest } from '../src/testing/transport-under-test.ts';

const KiB = 1024;
const LARGEST = 60_000;

/** A small generator of numbers, so that a failure can be run again. */
class Choices {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 2_654_435_761 + 12_345;
  }

  below(bound: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * bound);
  }

  /** Mostly small, sometimes many times a window. */
  size(): number {
    const kind = this.below(10);
    if (kind === 0) return 0;
    if (kind < 6) return this.below(200);
    if (kind < 9) return this.below(5000);
    return this.below(LARGEST);
  }
}

const KINDS = ['echo', 'later', 'items', 'generated', 'duplex', 'fails', 'never'] as const;
const HEAD_BYTES = 12;

/** What a request asks for: its kind, a number, and a size. */
function ask(kind: (typeof KINDS)[number], value: number, size: number): Uint8Array {
  const payload = pattern(HEAD_BYTES + size, value);
  payload.set(u32(KINDS.indexOf(kind)));
  payload.set(u32(value), 4);
  payload.set(u32(size), 8);
  return payload;
}

function itemOf(value: number, index: number, size: number): Bytes {
  return pattern((size + index * 97) % (size + 1), value + index);
}

function handle(_clientId: number, request: Bytes, info: IpcRequest): HandlerOutput | Promise<HandlerOutput> {
  const kind = KINDS[readU32(request)];
  const value = readU32(request, 4);
  const size = readU32(request, 8);
  switch (kind) {
    case 'later':
      return new Promise((resolve) => setImmediate(() => resolve(request)));
    case 'items':
      return from(Array.from({ length: value % 40 }, (_, i) => itemOf(value, i, size % 3000)));
    case 'generated':
      return (async function* () {
        for (let i = 0; i < value % 40; i++) yield itemOf(value, i, size % 3000);
      })();
    case 'duplex':
      return info.input$?.pipe(map((item) => item));
    case 'fails':
      throw new Error(`failed ${value}`);
    case 'never':
      return new Promise((resolve) => info.signal.addEventListener('abort', () => resolve(undefined)));
    default:
      return request;
  }
}

async function one(client: IpcClient, choices: Choices, value: number): Promise<boolean> {
  const size = choices.size();
  const metadata = choices.below(4) === 0 ? new Map([['value', String(value)]]) : undefined;
  const timeoutMs = choices.below(4) === 0 ? 1_000_000 : undefined;
  const options = { metadata, timeoutMs };
  const count = value % 40;
  const isItem = (item: Bytes, i: number): boolean => sameBytes(item, itemOf(value, i, size % 3000));
  switch (choices.below(9)) {
    case 0: {
      const payload = ask('echo', value, size);
      return sameBytes(await client.request(payload, options), payload);
    }
    case 1: {
      const payload = ask('later', value, size);
      const reply = await client.exchange(payload, options);
      const same = sameBytes(reply.span, payload);
      reply.release();
      return same;
    }
    case 2: {
      const items = await lastValueFrom(client.request$(ask('items', value, size), options).pipe(toArray()));
      return items.length === count && items.every(isItem);
    }
    case 3: {
      let taken = 0;
      let same = true;
      for await (const item of client.request$(ask('generated', value, size), options)) same &&= isItem(item, taken++);
      return same && taken === count;
    }
    case 4: {
      const limit = 1 + choices.below(5);
      const items = await lastValueFrom(
        client.request$(ask('generated', value, size), options).pipe(take(limit), toArray()),
      );
      return items.length === Math.min(limit, count) && items.every(isItem);
    }
    case 5: {
      const input = Array.from({ length: count }, (_, i) => itemOf(value, i, size % 3000));
      const leave = choices.below(3) === 0 ? 1 + choices.below(10) : count + 1;
      const items$ = client.duplex$(ask('duplex', value, 0), from(input), options);
      const items = await lastValueFrom(items$.pipe(take(leave), toArray()));
      return items.length === Math.min(leave, count) && items.every(isItem);
    }
    case 6: {
      const error: unknown = await client
        .request(ask('fails', value, size), options)
        .catch((reason: unknown) => reason);
      return error instanceof Error && error.message === `failed ${value}`;
    }
    case 7: {
      const controller = new AbortController();
      const call = client.request(ask('never', value, size), { metadata, signal: controller.signal });
      const waits = choices.below(4);
      if (waits === 0) controller.abort();
      else if (waits === 1) queueMicrotask(() => controller.abort());
      else setTimeout(() => controller.abort(), waits);
      return call.then(
        () => false,
        (error: unknown) => (error as Error).name === 'AbortError',
      );
    }
    default:
      await client.send(ask('echo', value, size));
      return true;
  }
}

export function describeEverything(transport: TransportUnderTest): void {
  for (const seed of Array.from({ length: 25 }, (_, i) => i + 5)) {
    test(`every call ends as it should, and nothing stays behind (seed ${seed})`, async () => {
      const fixture = await serve(transport, {
        windowBytes: 8 * KiB,
        responseWindowBytes: 8 * KiB,
        streamWindowBytes: 2 * KiB,
        maxMessageBytes: 2 * LARGEST,
        maxReassemblyBytes: 2 * LARGEST,
        maxInFlight: 16,
      });
      let messages = 0;
      let wrong = 0;
      fixture.server.messages$.subscribe(({ data }) => {
        messages++;
        if (!sameBytes(data, ask('echo', readU32(data, 4), readU32(data, 8)))) wrong++;
      });
      fixture.server.respond(handle);
      let pushed = 0;
      const clients = await Promise.all(
        Array.from({ length: 3 }, () =>
          fixture.client({
            windowBytes: 8 * KiB,
            responseWindowBytes: 8 * KiB,
            streamWindowBytes: 2 * KiB,
            maxMessageBytes: 2 * LARGEST,
            maxReassemblyBytes: 2 * LARGEST,
          }),
        ),
      );
      for (const client of clients) client.messages$.subscribe(() => pushed++);
      const choices = new Choices(seed);
      let value = 0;
      let broadcasts = 0;
      const worker = async (client: IpcClient): Promise<number[]> => {
        const failed: number[] = [];
        for (let i = 0; i < 40; i++) {
          const mine = ++value;
          if (mine % 25 === 0) broadcasts += fixture.server.broadcast(pattern(choices.below(3000), mine));
          if (!(await one(client, choices, mine))) failed.push(mine);
        }
        return failed;
      };
      const failed = await Promise.all(clients.flatMap((client) => Array.from({ length: 6 }, () => worker(client))));
      expect(failed.flat()).toEqual([]);
      await eventually('nothing is open', () => fixture.server.stats.openRequests === 0);
      await eventually('nothing is pending', () => clients.every((client) => client.stats.pending === 0));
      await eventually('all pushes came', () => pushed === broadcasts);
      expect(wrong).toBe(0);
      expect(messages).toBeGreaterThan(0);
      expect(fixture.disconnects()).toEqual([]);
      // Every window is whole again: the largest message passes both ways, for everybody at once.
      const payload = ask('echo', 1, LARGEST);
      const answers = await Promise.all(clients.map((client) => client.request(payload)));
      expect(answers.every((answer) => sameBytes(answer, payload))).toBe(true);
    });
  }
}
