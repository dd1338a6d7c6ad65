/** What the core hands to a transport when it makes its listener or its connect function. */
import type { Connect, Listener } from './channel.ts';
import type { Hello } from './hello.ts';
import type { ClientSettings, ServerSettings } from './options.ts';
import type { ReassemblyBudget } from './reassembly-budget.ts';

export interface ServerContext {
  readonly settings: ServerSettings;
  /** What this server says of itself. */
  readonly hello: Hello;
  /** Shared by all channels, for transports that put large plain messages together. */
  readonly budget: ReassemblyBudget;
}

export interface ClientContext {
  readonly settings: ClientSettings;
  /** What this client says of itself. */
  readonly hello: Hello;
}

export type MakeListener = (context: ServerContext) => Listener;
export type MakeConnect = (context: ClientContext) => Connect;
