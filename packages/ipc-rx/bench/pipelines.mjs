// @ts-check
/** The pipelines that are compared: each answers a request with its own bytes, or with a stream of them. */
import { map, mergeMap, NEVER } from 'rxjs';
import {
  copied,
  createMeter,
  deadline,
  decode,
  encode,
  fairly,
  handle,
  limitInFlight,
  meter,
  perClient,
  raw,
  released,
  route,
  shedLoad,
  untilShutdown,
} from '@spanwire/ipc-rx';

/** @typedef {import('@spanwire/ipc-core').IpcRequest} IpcRequest */
/** @typedef {import('rxjs').OperatorFunction<IpcRequest, import('@spanwire/ipc-core').IpcResponse>} Pipeline */

const echo = map((/** @type {IpcRequest} */ { clientId, requestId, span }) => ({ clientId, requestId, data: span }));
const echoHandler = (/** @type {number} */ _clientId, /** @type {Uint8Array} */ request) => request;

/** @param {import('rxjs').MonoTypeOperatorFunction<IpcRequest>} operator @returns {Pipeline} */
const before = (operator) => (requests$) => requests$.pipe(operator, echo);

/** What the others are compared to. */
export const bare = 'map (bare)';

/** @type {Record<string, () => Pipeline>} */
export const pipelines = {
  [bare]: () => echo,
  'handle(syncHandler)': () => handle(echoHandler),
  'perClient() + mergeMap': () => (requests$) =>
    requests$.pipe(
      perClient(),
      mergeMap((client$) => client$.pipe(echo)),
    ),
  'fairly()': () => before(fairly()),
  'meter()': () => before(meter(createMeter())),
  'limitInFlight(64)': () => before(limitInFlight(64)),
  'shedLoad()': () => before(shedLoad({ when: ({ inFlight }) => inFlight > 10_000 })),
  'deadline(1_000)': () => before(deadline(1_000)),
  'copied()': () => before(copied()),
  'released(), off': () => before(released()),
  'untilShutdown()': () => before(untilShutdown(NEVER)),
  'route() of 3': () => route(() => 'b', { a: echoHandler, b: echoHandler, c: echoHandler }),
  'decode(raw) + encode(raw)': () => (requests$) =>
    requests$.pipe(
      decode(raw),
      map(({ clientId, requestId, value }) => ({ clientId, requestId, value })),
      encode(raw),
    ),
  'handle(asyncHandler)': () => handle((_clientId, request) => Promise.resolve(request)),
};
