/** Operators and adapters for Spanwire: they work on the requests of any transport. */

// Servers.
export { copied } from './copied.ts';
export { deadline } from './deadline.ts';
export { decode, DecodeError, type DecodedRequest } from './decode.ts';
export { encode, type ValueResponse } from './encode.ts';
export { fairly, type FairlyOptions } from './fairly.ts';
export { handle } from './handle.ts';
export { limitInFlight, type LimitOptions } from './limit-in-flight.ts';
export { createMeter, meter, type Meter, type MeterSnapshot } from './meter.ts';
export { perClient } from './per-client.ts';
export { type HeldRequest, released, type ReleasedOptions } from './released.ts';
export { releaseAfter } from './release-after.ts';
export { route, type Route, UnknownRouteError } from './route.ts';
export { serve } from './serve.ts';
export { type Load, shedLoad, type ShedLoadOptions } from './shed-load.ts';
export { untilShutdown } from './until-shutdown.ts';

// Clients.
export { requestEach, type RequestEachOptions } from './request-each.ts';
export { resendRefused, type ResendOptions } from './resend-refused.ts';
export { retryOnReconnect, type RetryOptions } from './retry-on-reconnect.ts';
export { sendEach, type SendEachOptions } from './send-each.ts';

// Codecs.
export { type Codec, json, msgpack, raw, typed, utf8 } from './codec.ts';

// Bridges.
export { abortable } from './abortable.ts';
export { fromAbortSignal } from './from-abort-signal.ts';
export { fromReadable } from './from-readable.ts';
export { fromReadableStream } from './from-readable-stream.ts';
export type { Pullable } from './pullable.ts';
export { toAbortSignal } from './to-abort-signal.ts';
export { toAsyncIterable } from './to-async-iterable.ts';
export { toDuplex } from './to-duplex.ts';
export { type DuplexStreams, toDuplexStream } from './to-duplex-stream.ts';
export { toReadable } from './to-readable.ts';
export { toReadableStream } from './to-readable-stream.ts';
export { toWritable } from './to-writable.ts';
export { toWritableStream } from './to-writable-stream.ts';
export { untilAborted } from './until-aborted.ts';
