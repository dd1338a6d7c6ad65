/** What {@link createIpc} makes. */
import type { Listening } from './listening.ts';
import type { ConnectOptions, ListenOptions, SpawnOptions } from './options.ts';
import type { RemoteInit } from './remote.ts';
import type { SpawnedProcess } from './spawned-process.ts';

/** What `startSpawnedProcess` found and did. */
export interface StartResult {
  /** Whether this process was spawned by an Ipc, and served it until now. */
  readonly served: boolean;
  /** What to exit with: 0 when serving ended because the parent said so; 1 otherwise, also when nothing was served. */
  readonly exitStatus: 0 | 1;
}

/**
 * Objects in other processes. Calls are asynchronous; nothing here blocks the thread.
 *
 * Disposing it stops listening, drops incoming connections, and disposes every proxy.
 */
export interface Ipc<Context = undefined> extends AsyncDisposable {
  /** The object given to {@link createIpc}; the same for everybody. */
  readonly context: Context;

  /**
   * Starts a process and returns the proxy of its `init`, when it serves. `program` is a name next to the running script, a path (relative to the current
   * directory) or a file URL; a Node script or an executable. It gets exactly two arguments: `-ipcfd` and the number of a descriptor.
   *
   * Disposing the proxy closes the connection, waits until the process has ended and is reaped, then runs the clean-ups.
   *
   * Rejects with ERR_IPC_SYSTEM when it cannot be executed, {@link ProcessExitedError} (ERR_IPC_PEER_GONE) when it ends before it
   * serves, ERR_IPC_TIMEOUT when it does not serve in time (then it is killed), or the reason of `signal`.
   *
   * @example
   * await using worker = await ipc.spawnProcess<WorkerInit>('worker.mjs');
   * console.log(await worker.add(1, 2));
   */
  spawnProcess<Init extends object>(program: string | URL, options?: SpawnOptions): Promise<RemoteInit<Init>>;

  /**
   * In a process that was spawned: serves `init` until the channel closes, and running calls have finished (at most `graceMs`). Not spawned:
   * resolves `served: false` and touches nothing.
   *
   * While it serves, an interrupt from the terminal is ignored, for the parent decides, and `process.exitCode` is 1.
   * Throws TypeError on a malformed descriptor number, ERR_IPC_SYSTEM on a descriptor that is no socket.
   *
   * @example
   * const { served, exitStatus } = await ipc.startSpawnedProcess(process.argv);
   * if (served) process.exit(exitStatus);
   */
  startSpawnedProcess(argv: readonly string[]): Promise<StartResult>;

  /**
   * The proxy of the `init` of a running process. `""` and `"0"` mean none: null. `"unix"` is the default socket in `dataDir`, `"unix:PATH"` one relative to
   * it, `"shm:name"` shared memory. `"auto"` is `"unix"`, but null when nobody listens there.
   *
   * Waits, until `signal` aborts, for a place when the other side has as many connections as it takes. Disposing the proxy closes this connection
   * only. Rejects with ERR_IPC_PEER_GONE when nobody listens, ERR_IPC_TIMEOUT when nobody says hello, ERR_IPC_PROTOCOL when it is no Ipc, RangeError on
   * a path that is too long, TypeError on an address of no known form.
   *
   * @example
   * const node = await ipc.connectAddress<NodeInit>('auto');
   * if (node !== null) console.log(await node.height());
   */
  connectAddress<Init extends object>(address: string, options?: ConnectOptions): Promise<RemoteInit<Init> | null>;

  /**
   * Serves `init` to whoever connects to `address` (the forms of `connectAddress` but `auto` and none). Makes the folder of a socket file, removes
   * a leftover socket that nobody answers on, and nothing else. Disposing what it returns frees the address; connections live on. Rejects with
   * ERR_IPC_ADDRESS_IN_USE, ERR_IPC_SYSTEM, RangeError on a path that is too long, TypeError on an address of no known form.
   *
   * @example
   * await using listening = await ipc.listenAddress('unix', { maxConnections: 8 });
   * console.log(listening.address);
   */
  listenAddress(address: string, options?: ListenOptions): Promise<Listening>;

  /**
   * Drops every incoming connection, but never the parent's: their calls in flight fail. Resolves when the calls of theirs that run have finished,
   * however long those take. Who listens goes on to listen.
   *
   * @example
   * await ipc.disconnectIncoming();
   */
  disconnectIncoming(): Promise<void>;

  /**
   * Has `cleanup` called when `proxy`, of spawnProcess or connectAddress, is disposed: after the connection is closed and a spawned process is
   * reaped, in the order they were added; not when the connection drops. Its promise is waited for; what it throws is what disposing rejects with.
   * Throws TypeError on any other proxy, and on one that was disposed.
   *
   * @example
   * ipc.addCleanup(worker, () => rm(folder, { recursive: true }));
   */
  addCleanup(proxy: object, cleanup: () => unknown): void;

  /**
   * The process behind a proxy of `spawnProcess`: its id, outputs, exit and restarts. Throws TypeError on any other.
   *
   * @example
   * ipc.processOf(worker).state$.subscribe(({ status }) => console.log(status));
   */
  processOf(proxy: object): SpawnedProcess;

  /**
   * The resolved address behind a proxy of `connectAddress`, such as `unix:/full/path`. Throws TypeError on any other.
   *
   * @example
   * console.log(ipc.addressOf(node));
   */
  addressOf(proxy: object): string;
}
