/** Operators and adapters for Spanwire: they work on the requests of any transport. */
export { handle } from './handle.ts';
export { perClient } from './per-client.ts';
export { serve } from './serve.ts';
export { untilShutdown } from './until-shutdown.ts';
