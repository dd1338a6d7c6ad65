/** A spawned process as a connection: its generations, one after the other when it is restarted. */
import type { Readable } from 'node:stream';
import { TimeoutError, type Channel, type ClientContext } from '@spanwire/ipc-core';
import type { RpcStub, RpcTarget } from 'capnweb';
import { ReplaySubject, type Observable } from 'rxjs';
import { abortable, delay } from './abortable.ts';
import { Child, type ChildSettings, type ExitReport } from './child.ts';
import type { Connection } from './handle.ts';
import type { Command } from './program.ts';
import { Session, type SessionSettings } from './session.ts';

/** What a spawned process is doing. */
export type ProcessState =
  | { readonly status: 'running'; readonly pid: number; readonly restarts: number }
  /** It ended unasked (`exit`), or could not be started again (`error`); the next attempt is in `delayMs`. */
  | {
      readonly status: 'restarting';
      readonly exit: ExitReport;
      readonly error: unknown;
      readonly delayMs: number;
      readonly restarts: number;
    }
  /** It ended, and is not started again. */
  | { readonly status: 'exited'; readonly exit: ExitReport; readonly error: unknown; readonly restarts: number };

/** When and how often a process that ended unasked is started again. */
export interface RestartPolicy {
  /** The delays before the first, second, ... restart, the last one repeated. 0 to 2^31 - 1 ms. */
  readonly delaysMs: readonly number[];
  /** Restarts in the life of the proxy, failed attempts included. */
  readonly max: number;
}

/** A process that spawnProcess started. */
export interface SpawnedProcess {
  /** Of the process that runs, or ran last. */
  readonly pid: number;
  /** With `stdout: 'pipe'`; of the process that runs, or ran last. Whoever asks for a pipe must read it. */
  readonly stdout: Readable | null;
  /** With `stderr: 'pipe'`; as `stdout`. */
  readonly stderr: Readable | null;
  /** What it is doing; replays the current state, also the last one, and completes after `exited`. */
  readonly state$: Observable<ProcessState>;
  /** Resolves when it has ended for good and was reaped. */
  readonly exited: Promise<ExitReport>;
  /** Sends a signal to the process; false when it is gone. */
  kill(signal?: NodeJS.Signals): boolean;
}

export interface SpawnSettings extends ChildSettings {
  readonly startTimeoutMs: number;
  readonly graceMs: number;
  readonly restart: RestartPolicy | undefined;
}

export interface SpawnContext {
  readonly session: SessionSettings;
  readonly client: ClientContext;
  /** Opens a second channel beside the one that the process inherits, for the calls; undefined: the inherited one is for all. */
  readonly openBeside: ((session: Session, signal: AbortSignal) => Promise<Channel>) | undefined;
}

interface Generation {
  readonly child: Child;
  /** The inherited channel's session last: its end is the end of the process. */
  readonly sessions: readonly Session[];
  readonly stub: RpcStub<RpcTarget>;
}

export class SpawnedConnection implements Connection, SpawnedProcess {
  readonly exited: Promise<ExitReport>;
  readonly #command: Command;
  readonly #settings: SpawnSettings;
  readonly #context: SpawnContext;
  /** Not a BehaviorSubject: who comes after the end is told how it ended. */
  readonly #state = new ReplaySubject<ProcessState>(1);
  readonly #stopping = new AbortController();
  #generation: Generation;
  #restarts = 0;

  private constructor(command: Command, settings: SpawnSettings, context: SpawnContext, first: Generation) {
    this.#command = command;
    this.#settings = settings;
    this.#context = context;
    this.#generation = first;
    this.#state.next({ status: 'running', pid: first.child.pid, restarts: 0 });
    this.exited = this.#run();
  }

  /** Starts the process and waits until it serves. When this rejects, the process is gone. */
  static async start(
    command: Command,
    settings: SpawnSettings,
    context: SpawnContext,
    signal: AbortSignal,
  ): Promise<SpawnedConnection> {
    const first = await startGeneration(command, settings, context, signal);
    return new SpawnedConnection(command, settings, context, first);
  }

  get stub(): RpcStub<RpcTarget> {
    return this.#generation.stub;
  }

  get pid(): number {
    return this.#generation.child.pid;
  }

  get stdout(): Readable | null {
    return this.#generation.child.stdout;
  }

  get stderr(): Readable | null {
    return this.#generation.child.stderr;
  }

  get state$(): Observable<ProcessState> {
    return this.#state.asObservable();
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    return this.#generation.child.kill(signal);
  }

  async disconnect(): Promise<void> {
    this.#stopping.abort();
    await closeAll(this.#generation.sessions);
    await this.exited;
  }

  async #run(): Promise<ExitReport> {
    for (;;) {
      const exit = await this.#lifeOf(this.#generation);
      const failure = await this.#restart(exit);
      if (failure === undefined) continue;
      this.#state.next({ status: 'exited', exit, error: failure.error, restarts: this.#restarts });
      this.#state.complete();
      return exit;
    }
  }

  /** Resolves when the process is gone, and everything that it had sent has been read. */
  async #lifeOf({ child, sessions }: Generation): Promise<ExitReport> {
    await Promise.race([child.exited, ...sessions.map((session) => session.ended)]);
    const inherited = sessions.at(-1);
    // Whichever was lost, the process is told to go by the end of the channel that it inherited.
    if (inherited !== undefined && sessions.length > 1) void inherited.close();
    const exit = await child.end();
    const lastWords = new AbortController();
    const timer = setTimeout(() => lastWords.abort(), this.#settings.graceMs);
    await abortable(Promise.all(sessions.map((session) => session.ended)), lastWords.signal).catch(() => undefined);
    clearTimeout(timer);
    await closeAll(sessions);
    return exit;
  }

  /** Undefined when it runs again; else what the last attempt failed with, if there was one. */
  async #restart(exit: ExitReport): Promise<{ readonly error: unknown } | undefined> {
    const policy = this.#settings.restart;
    if (policy === undefined) return { error: undefined };
    const { signal } = this.#stopping;
    let error: unknown;
    while (this.#restarts < policy.max && !signal.aborted) {
      const delayMs = policy.delaysMs[Math.min(this.#restarts, policy.delaysMs.length - 1)] ?? 0;
      this.#restarts++;
      this.#state.next({ status: 'restarting', exit, error, delayMs, restarts: this.#restarts });
      try {
        await delay(delayMs, signal);
        this.#generation = await startGeneration(this.#command, this.#settings, this.#context, signal);
      } catch (failure) {
        error = signal.aborted ? undefined : failure;
        continue;
      }
      // Disposed in the last moment, when the generation before was told to end.
      if (signal.aborted) void closeAll(this.#generation.sessions);
      this.#state.next({ status: 'running', pid: this.pid, restarts: this.#restarts });
      return undefined;
    }
    return { error };
  }
}

async function startGeneration(
  command: Command,
  settings: SpawnSettings,
  context: SpawnContext,
  signal: AbortSignal,
): Promise<Generation> {
  signal.throwIfAborted();
  const child = await Child.start(command, settings);
  const sessions: Session[] = [];
  const abort = new AbortController();
  const { startTimeoutMs } = settings;
  const onAbort = (): void => abort.abort(signal.reason);
  const timer = setTimeout(() => {
    abort.abort(new TimeoutError(`${command.path} did not serve within ${startTimeoutMs} ms`, startTimeoutMs));
  }, startTimeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    // A process says hello when it serves, and it may take long until then.
    const client = { ...context.client, settings: { ...context.client.settings, handshakeTimeoutMs: startTimeoutMs } };
    const inherited = new Session(await child.open(client, abort.signal), context.session, undefined);
    sessions.unshift(inherited);
    if (context.openBeside !== undefined) {
      const channel = await abortable(context.openBeside(inherited, abort.signal), abort.signal);
      sessions.unshift(new Session(channel, context.session, undefined));
    }
    const stub = await abortable((sessions[0] as Session).remoteInit(), abort.signal);
    return { child, sessions, stub };
  } catch (error) {
    // Who closed the channel is probably on its way out, and how it exits says more than that.
    const patienceMs = abort.signal.aborted ? 0 : settings.killAfterMs;
    const [reason] = await Promise.all([child.explain(error, patienceMs), closeAll(sessions)]);
    throw reason;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

async function closeAll(sessions: readonly Session[]): Promise<void> {
  await Promise.all(sessions.map((session) => session.close()));
}
