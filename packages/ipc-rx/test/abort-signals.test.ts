import type { Bytes } from '@spanwire/ipc-core';
import { getEventListeners } from 'node:events';
import { abortable, fromAbortSignal, serve, toAbortSignal, untilAborted } from '@spanwire/ipc-rx';
import { from, NEVER, Subject, takeUntil, type MonoTypeOperatorFunction, type Observable } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('fromAbortSignal', () => {
  it('emits the reason and completes, at once when it has aborted already', () => {
    marbles(({ hot, expectObservable }) => {
      const controller = new AbortController();
      hot('---x').subscribe(() => controller.abort('reason'));
      expectObservable(fromAbortSignal(controller.signal)).toBe('---(r|)', { r: 'reason' });
      expectObservable(fromAbortSignal(AbortSignal.abort('before'))).toBe('(b|)', { b: 'before' });
      expectObservable(NEVER.pipe(takeUntil(fromAbortSignal(controller.signal)))).toBe('---|');
    });
  });

  it('removes its listener when it is left', () => {
    const { signal } = new AbortController();
    const subscription = fromAbortSignal(signal).subscribe();
    expect(getEventListeners(signal, 'abort').length).toBe(1);
    subscription.unsubscribe();
    expect(getEventListeners(signal, 'abort').length).toBe(0);
  });
});

describe('untilAborted', () => {
  it('errors with the reason, and leaves its source', () => {
    marbles(({ cold, hot, expectObservable, expectSubscriptions }) => {
      const controller = new AbortController();
      hot('---x').subscribe(() => controller.abort('error'));
      const source = cold('-a-b-c|');
      expectObservable(source.pipe(untilAborted(controller.signal))).toBe('-a-#');
      expectObservable(source.pipe(untilAborted(new AbortController().signal))).toBe('-a-b-c|');
      expectObservable(source.pipe(untilAborted(AbortSignal.abort('error')))).toBe('#');
      expectSubscriptions(source.subscriptions).toBe(['^--!', '^-----!']);
    });
  });

  it('removes its listener at the end', () => {
    const { signal } = new AbortController();
    from([1]).pipe(untilAborted(signal)).subscribe();
    expect(getEventListeners(signal, 'abort').length).toBe(0);
  });

  it('keeps the type of its source', () => {
    expectTypeOf(untilAborted<string>).returns.toEqualTypeOf<MonoTypeOperatorFunction<string>>();
  });
});

describe('toAbortSignal', () => {
  it('aborts with what its notifier emits, or fails with', () => {
    const notifier$ = new Subject<string>();
    const signal = toAbortSignal(notifier$);
    expect(signal.aborted).toBe(false);
    notifier$.next('enough');
    expect(signal.reason).toBe('enough');
    expect(notifier$.observed).toBe(false);
    const failing$ = new Subject<never>();
    const failed = toAbortSignal(failing$);
    failing$.error('broken');
    expect(failed.reason).toBe('broken');
    expect(toAbortSignal([]).aborted).toBe(false);
  });
});

describe('abortable', () => {
  it('aborts when it is left, and not after an end', () => {
    marbles(({ cold, expectObservable, flush }) => {
      const signals: AbortSignal[] = [];
      const work =
        (time: string) =>
        (signal: AbortSignal): Observable<string> => {
          signals.push(signal);
          return cold(time);
        };
      expectObservable(abortable(work('-a---')), '---!').toBe('-a--');
      expectObservable(abortable(work('-a-|'))).toBe('-a-|');
      expectObservable(abortable(work('-a-#'))).toBe('-a-#');
      flush();
      expect(signals.map(({ aborted }) => aborted)).toEqual([true, false, false]);
    });
  });

  it('errors when its work throws, and refuses what is no function', () => {
    const seen: unknown[] = [];
    abortable(() => {
      throw 'broken';
    }).subscribe({ error: (error: unknown) => seen.push(error) });
    expect(seen).toEqual(['broken']);
    refuses(() => abortable('work' as never));
    expectTypeOf(abortable(() => Promise.resolve(1))).toEqualTypeOf<Observable<number>>();
  });
});

describe.each(transports)('signals over $name', ({ open }) => {
  it('a signal at the client stops work that takes a signal in the other process', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const started = new Log<AbortSignal>();
    const stopped = new Log<true>();
    serve(scene.server, (_clientId, request) => {
      if (text(request) === 'ping') return request;
      return abortable<Bytes>((signal) => {
        signal.addEventListener('abort', () => stopped.add(true));
        started.add(signal);
        return NEVER;
      });
    });
    const controller = new AbortController();
    const failed = new Log<unknown>();
    client
      .request$(bytes('work'))
      .pipe(untilAborted(controller.signal))
      .subscribe({ error: (error: unknown) => failed.add(error) });
    await started.reaches(1);
    controller.abort('changed my mind');
    await stopped.reaches(1);
    expect(failed.entries).toEqual(['changed my mind']);
  });

  it('an Observable cancels a request', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const started = new Log<AbortSignal>();
    serve(scene.server, (_clientId, _request, { signal }) => {
      started.add(signal);
      return new Promise(() => undefined);
    });
    const cancel$ = new Subject<string>();
    const reply = client.request(bytes('work'), { signal: toAbortSignal(cancel$) });
    await started.reaches(1);
    const aborted = new Log<true>();
    started.entries[0]?.addEventListener('abort', () => aborted.add(true));
    cancel$.next('changed my mind');
    await expect(reply).rejects.toBe('changed my mind');
    await aborted.reaches(1);
  });
});
