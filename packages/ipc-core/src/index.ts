/** The contract of Spanwire, and what every transport shares. */
export * from './contract.ts';
export * from './errors.ts';
export { answer } from './answer.ts';
export { createServer } from './server.ts';
export { createClient } from './client.ts';
export {
  type ClientOptions,
  type ClientSettings,
  type Overflow,
  type ServerOptions,
  type ServerSettings,
  type StalledClient,
} from './options.ts';

// What transports are made of.
export * from './channel.ts';
export * from './frame.ts';
export {
  decodeHello,
  encodeHello,
  errorOfRefusal,
  type Hello,
  HELLO_HEADER_BYTES,
  helloByteLength,
  MAGIC_WORD,
  MAX_HELLO_APPLICATION_BYTES,
  MAX_HELLO_BYTES,
  type PeerHello,
  PROTOCOL_VERSION,
  refusalHello,
} from './hello.ts';
export {
  expectBytes,
  expectFunction,
  expectTimeout,
  helloOfClient,
  helloOfServer,
  integerIn,
  oneOf,
  resolveClientOptions,
  resolveServerOptions,
  show,
  SMALLER,
} from './options.ts';
export { WATCH_SPANS } from './watched-spans.ts';
export { type Requester, requester } from './requester.ts';
export { originOf, type Outcome, type RequestOrigin } from './request-origin.ts';
export { Assembler, type Assembly, type AssemblyHost } from './assembler.ts';
export { DataLane, type LaneEntry } from './data-lane.ts';
export { Deque } from './deque.ts';
export { ReceiveWindow, SendWindow } from './window.ts';
export { loopTimers, type Timer, type Timers } from './timers.ts';
export { Connection, type ConnectionHost } from './connection.ts';
export { Call, type CallOwner } from './call.ts';
export { ReassemblyBudget, type Reservation } from './reassembly-budget.ts';
export type { ClientContext, MakeConnect, MakeListener, ServerContext } from './transport.ts';
export { createMemoryClient, createMemoryServer, memoryConnect, type MemoryClientOptions } from './memory.ts';
