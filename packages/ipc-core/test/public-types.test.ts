/** What the compiler says of the public types: checked with the types of all tests. */
import { map, type Observable, type Observer, type OperatorFunction, type Subscription } from 'rxjs';
import { expectTypeOf, test } from 'vitest';
import * as core from '../src/index.ts';
import type {
  Bytes,
  CallOptions,
  Channel,
  Claim,
  ClientEvent,
  ClientOptions,
  ClientState,
  Handler,
  IpcClient,
  IpcErrorCode,
  IpcReply,
  IpcRequest,
  IpcResponse,
  IpcServer,
  Listener,
  RequestClaim,
  ResponseClaim,
  ServerOptions,
} from '../src/index.ts';

test('a pipeline of requests into the sink has the right types, and a wrong one has not', () => {
  const pipeline = (server: IpcServer): Subscription =>
    server.requests$.pipe(map((request) => ({ ...request, data: request.span }))).subscribe(server.responses);
  expectTypeOf(pipeline).returns.toEqualTypeOf<Subscription>();
  expectTypeOf<IpcServer['requests$']>().toEqualTypeOf<Observable<IpcRequest>>();
  expectTypeOf<IpcServer['responses']>().toEqualTypeOf<Observer<IpcResponse>>();
  expectTypeOf(core.answer(() => undefined)).toEqualTypeOf<OperatorFunction<IpcRequest, IpcResponse>>();
  const wrong = (server: IpcServer): void => {
    // @ts-expect-error: text is no answer
    server.requests$.pipe(map(() => 'text')).subscribe(server.responses);
    // @ts-expect-error: an answer has data or an error, not both
    server.responses.next({ clientId: 1, data: new Uint8Array(0), error: new Error('both') });
    // @ts-expect-error: an answer has data or items, not both
    server.responses.next({ clientId: 1, data: new Uint8Array(0), items: [] });
    // @ts-expect-error: somebody must be answered
    server.responses.next({ requestId: 1 });
  };
  expectTypeOf(wrong).toBeFunction();
});

test('bytes leave as views of plain ArrayBuffers', () => {
  expectTypeOf<Bytes>().toEqualTypeOf<Uint8Array<ArrayBuffer>>();
  expectTypeOf<IpcRequest['span']>().toEqualTypeOf<Bytes>();
  expectTypeOf<IpcReply['span']>().toEqualTypeOf<Bytes>();
  expectTypeOf<IpcClient['request']>().returns.resolves.toEqualTypeOf<Bytes>();
  expectTypeOf<IpcClient['receive']>().returns.resolves.toEqualTypeOf<Bytes | undefined>();
  expectTypeOf<IpcClient['request$']>().returns.toExtend<Observable<Bytes> & AsyncIterable<Bytes>>();
  // Buffers and shared memory may come in.
  expectTypeOf<Buffer>().toExtend<Parameters<IpcClient['request']>[0]>();
  expectTypeOf<Uint8Array<SharedArrayBuffer>>().toExtend<Parameters<IpcClient['request']>[0]>();
});

test('handlers may answer in every form, and nothing else', () => {
  expectTypeOf<() => Uint8Array>().toExtend<Handler>();
  expectTypeOf<() => Promise<Uint8Array>>().toExtend<Handler>();
  expectTypeOf<() => undefined>().toExtend<Handler>();
  expectTypeOf<() => Observable<Uint8Array>>().toExtend<Handler>();
  expectTypeOf<() => AsyncGenerator<Uint8Array>>().toExtend<Handler>();
  expectTypeOf<() => Promise<AsyncIterable<Uint8Array> | undefined>>().toExtend<Handler>();
  expectTypeOf<() => string>().not.toExtend<Handler>();
  expectTypeOf<() => null>().not.toExtend<Handler>();
  expectTypeOf<Parameters<Handler>>().toEqualTypeOf<[clientId: number, request: Bytes, info: IpcRequest]>();
});

test('options and results say undefined where it may be', () => {
  expectTypeOf<{ signal: undefined; timeoutMs: undefined; metadata: undefined }>().toExtend<CallOptions>();
  expectTypeOf<{ windowBytes: undefined; stalledClient: { afterMs: number } }>().toExtend<ServerOptions>();
  expectTypeOf<{ reconnect: { delaysMs: readonly number[] } }>().toExtend<ClientOptions>();
  expectTypeOf<{ reconnect: true }>().not.toExtend<ClientOptions>();
  expectTypeOf<IpcServer['waitForData']>().returns.resolves.toEqualTypeOf<number | undefined>();
  expectTypeOf<IpcServer['receive']>().returns.toEqualTypeOf<IpcRequest | undefined>();
});

test('a claim is writable bytes, and publishing it gives what the usual way of sending gives', () => {
  expectTypeOf<Parameters<IpcClient['claim']>>().toEqualTypeOf<
    [payloadBytes: number, options?: CallOptions | undefined]
  >();
  expectTypeOf<ReturnType<IpcClient['claim']>>().toEqualTypeOf<RequestClaim | undefined>();
  expectTypeOf<RequestClaim['span']>().toEqualTypeOf<Bytes>();
  expectTypeOf<RequestClaim['publish']>().returns.toEqualTypeOf<ReturnType<IpcClient['request']>>();
  expectTypeOf<IpcRequest['claim']>().returns.toEqualTypeOf<ResponseClaim | undefined>();
  expectTypeOf<ResponseClaim['publish']>().returns.toEqualTypeOf<ReturnType<IpcRequest['respond']>>();
  expectTypeOf<ResponseClaim>().toExtend<Claim>();
  // @ts-expect-error: there may be no room
  const careless = (request: IpcRequest): Bytes => request.claim(4).span;
  expectTypeOf(careless).toBeFunction();
  // Transports without a ring have none.
  expectTypeOf<Pick<Channel, 'trySend'>>().toExtend<Pick<Channel, 'trySend' | 'claim'>>();
});

test('events and states are told apart by their names', () => {
  const told = (event: ClientEvent): string => {
    switch (event.type) {
      case 'connected':
        expectTypeOf(event.framing).toEqualTypeOf<'spanwire' | 'plain'>();
        return event.framing;
      case 'disconnected':
        expectTypeOf(event.error).toEqualTypeOf<Error | undefined>();
        return event.reason;
      default:
        expectTypeOf(event).toBeNever();
        return event;
    }
  };
  expectTypeOf(told).returns.toBeString();
  expectTypeOf<ClientState>().toEqualTypeOf<
    'idle' | 'connecting' | 'connected' | 'reconnecting' | 'draining' | 'closed'
  >();
});

test('codes are those of the list, and an error has one', () => {
  expectTypeOf<core.IpcError['code']>().toEqualTypeOf<IpcErrorCode>();
  expectTypeOf<'ERR_IPC_REFUSED'>().toExtend<IpcErrorCode>();
  expectTypeOf<'ERR_IPC_OTHER'>().not.toExtend<IpcErrorCode>();
  expectTypeOf<core.TimeoutError>().toExtend<core.IpcError>();
  expectTypeOf<core.SpanReleasedError>().toExtend<TypeError>();
});

test('servers and clients are disposed of by `await using`', () => {
  expectTypeOf<IpcServer>().toExtend<AsyncDisposable>();
  expectTypeOf<IpcClient>().toExtend<AsyncDisposable>();
});

test('what a transport supplies is an interface of plain callbacks', () => {
  expectTypeOf<Channel['trySend']>().returns.toBeBoolean();
  expectTypeOf<Listener['onChannel']>().toEqualTypeOf<((channel: Channel) => void) | undefined>();
  expectTypeOf(core.createServer).returns.toEqualTypeOf<IpcServer>();
  expectTypeOf(core.createClient).returns.toEqualTypeOf<IpcClient>();
});
