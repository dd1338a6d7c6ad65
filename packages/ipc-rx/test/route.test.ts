import type { IpcRequest, IpcResponse } from '@spanwire/ipc-core';
import { handle, limitInFlight, route, UnknownRouteError, utf8 } from '@spanwire/ipc-rx';
import { mergeMap, type OperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

const byRequest = (request: IpcRequest): string => `r${request.requestId}`;

describe('route, in marbles', () => {
  it('sends each request its way, merges the answers, and completes when all routes have', () => {
    marbles(({ cold, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'a2', c: 'b1' });
      const slowly: OperatorFunction<IpcRequest, IpcResponse> = mergeMap(({ clientId, requestId }) =>
        cold('-(x|)', { x: { clientId, requestId } }),
      );
      const answers$ = cold('-a-b-c|', values).pipe(
        route(byRequest, { r1: (clientId) => Uint8Array.of(clientId), r2: { via: slowly } }),
      );
      expectObservable(answers$).toBe('-a--bc|', {
        a: { clientId: 10, requestId: 1, data: Uint8Array.of(10) },
        b: { clientId: 10, requestId: 2 },
        c: { clientId: 11, requestId: 1, data: Uint8Array.of(11) },
      });
    });
  });

  it('answers what it does not know with an error, also names that every object has', () => {
    marbles(({ cold, expectObservable, flush }) => {
      const clients = new MarbleClients();
      const values = { a: clients.request('a1'), b: clients.request('a2') };
      const keys = ['constructor', '__proto__'];
      const answers$ = cold('-ab|', values).pipe(route(() => keys.shift() ?? '', { known: () => undefined }));
      expectObservable(answers$).toBe('---|');
      flush();
      for (const each of Object.values(values)) expect(each.outcome?.error).toBeInstanceOf(UnknownRouteError);
    });
  });

  it('takes what has no route of its own with *', () => {
    marbles(({ cold, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1' });
      const answers$ = cold('-a|', values).pipe(route(byRequest, { '*': () => Uint8Array.of(7) }));
      expectObservable(answers$).toBe('-a|', { a: { clientId: 10, requestId: 1, data: Uint8Array.of(7) } });
    });
  });

  it('passes errors of the source and of routes on, and leaves everything when it is left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const routes = { r1: { via: () => cold<IpcResponse>('----#') } };
      const source = cold<IpcRequest>('--------#');
      expectObservable(source.pipe(route(byRequest, routes))).toBe('----#');
      expectObservable(source.pipe(route(byRequest, { r1: () => undefined }))).toBe('--------#');
      expectObservable(source.pipe(route(byRequest, routes)), '--!').toBe('---');
      expectSubscriptions(source.subscriptions).toBe(['^---!', '^-------!', '^-!']);
    });
  });
});

it('route gives answers, and refuses bad arguments at once', () => {
  expectTypeOf(route(byRequest, { a: () => undefined })).toEqualTypeOf<OperatorFunction<IpcRequest, IpcResponse>>();
  refuses(() => route('key' as never, { a: () => undefined }));
  refuses(() => route(byRequest, {}));
  refuses(() => route(byRequest, { a: 'handler' as never }));
  refuses(() => route(byRequest, undefined as never));
});

describe.each(transports)('route over $name', ({ open }) => {
  it('serves methods by their names', async () => {
    await using scene = await open();
    const client = await scene.connect();
    scene.server.requests$
      .pipe(
        route((request) => utf8.decode(request.span).split(' ')[0] ?? '', {
          upper: (_clientId, request) => bytes(text(request).slice(6).toUpperCase()),
          fail: () => {
            throw new Error('as asked');
          },
          slow: {
            via: (requests$) =>
              requests$.pipe(
                limitInFlight(1),
                handle((_clientId, request) => Promise.resolve(new Uint8Array(request))),
              ),
          },
        }),
      )
      .subscribe(scene.server.responses);
    expect(text(await client.request(bytes('upper quiet')))).toBe('QUIET');
    expect(text(await client.request(bytes('slow')))).toBe('slow');
    await expect(client.request(bytes('fail'))).rejects.toMatchObject({ message: 'as asked' });
    await expect(client.request(bytes('toString'))).rejects.toMatchObject({
      remote: { name: 'UnknownRouteError', code: 'ERR_UNKNOWN_ROUTE' },
    });
  });
});
