/** Objects in other processes: spawn a process, connect to one, listen for others, and call what they offer. */
export { createIpc } from './ipc.ts';
export type { Ipc, StartResult } from './contract.ts';
export type { ConnectOptions, IpcOptions, ListenOptions, SpawnOptions } from './options.ts';
export type { ExitReport, OutputTarget } from './child.ts';
export type { ProcessState, RestartPolicy, SpawnedProcess } from './spawned-process.ts';
export type { Listening } from './listening.ts';
export type { ErrorClass } from './error-wire.ts';
export type { Crossing, Remote, RemoteInit, Streamed } from './remote.ts';
export { expose, type ExposeOptions } from './expose.ts';
export { ProcessExitedError } from './process-exited-error.ts';
export { RemoteObservable } from './remote-observable.ts';
export { type IpcTransport, type PrivateAddress, shmTransport, socketTransport } from './transports.ts';

// What objects that cross are made of.
export { RpcPromise, RpcStub, RpcTarget } from 'capnweb';
