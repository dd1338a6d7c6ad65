import { IpcError } from '@spanwire/ipc-core';
import { pullable, type Pullable } from './pullable.ts';

interface Write<T> {
  readonly item: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Hands items from a writer to a reader, one at a time. A write is done when the reader asks for the next item: only then is it done with the one
 * before, whose bytes the writer may reuse.
 */
export class HandOver<T> {
  readonly output$: Pullable<T> = pullable<T>(() => ({
    next: () => this.#take(),
    return: () => {
      this.#leave();
      return Promise.resolve({ done: true, value: undefined });
    },
  }));
  #write: Write<T> | undefined;
  /** The reader has the item of the write. */
  #taken = false;
  #taker: { resolve: (result: IteratorResult<T, undefined>) => void; reject: (error: unknown) => void } | undefined;
  #end: 'complete' | { readonly error: unknown } | undefined;
  #left: IpcError | undefined;

  /** Resolves when the reader is done with `item`; rejects when it leaves. One at a time. */
  write(item: T): Promise<void> {
    if (this.#left !== undefined) return Promise.reject(this.#left);
    const taker = this.#taker;
    this.#taker = undefined;
    this.#taken = taker !== undefined;
    taker?.resolve({ done: false, value: item });
    return new Promise((resolve, reject) => {
      this.#write = { item, resolve, reject };
    });
  }

  /** No more items. */
  close(): void {
    this.#finish('complete');
  }

  /** The writer failed: so does the reader. */
  fail(error: unknown): void {
    this.#finish({ error });
  }

  #finish(end: 'complete' | { readonly error: unknown }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    const taker = this.#taker;
    this.#taker = undefined;
    if (taker === undefined) return;
    if (end === 'complete') taker.resolve({ done: true, value: undefined });
    else taker.reject(end.error);
  }

  #take(): Promise<IteratorResult<T, undefined>> {
    const write = this.#write;
    if (write !== undefined && !this.#taken) {
      this.#taken = true;
      return Promise.resolve({ done: false, value: write.item });
    }
    this.#write = undefined;
    write?.resolve();
    if (this.#end === 'complete' || this.#left !== undefined) return Promise.resolve({ done: true, value: undefined });
    if (this.#end !== undefined) return Promise.reject(this.#end.error);
    return new Promise((resolve, reject) => {
      this.#taker = { resolve, reject };
    });
  }

  #leave(): void {
    if (this.#left !== undefined) return;
    this.#left = new IpcError('ERR_IPC_CANCELLED', 'The other side wants no more input');
    this.#write?.reject(this.#left);
    this.#write = undefined;
    this.#taker?.resolve({ done: true, value: undefined });
    this.#taker = undefined;
  }
}
