/** Counts what is copied and allocated: so a test of either needs no clock. */

export interface Copies {
  copiedBytes: number;
  allocatedBytes: number;
}

/** What `run` copies between arrays of bytes and allocates for them, by the ways that JavaScript and Buffer have. */
export function countCopies(run: () => void): Copies {
  const counts: Copies = { copiedBytes: 0, allocatedBytes: 0 };
  const copied = (bytes: number): void => void (counts.copiedBytes += bytes);
  const allocated = (bytes: number): void => void (counts.allocatedBytes += bytes);
  const both = (bytes: number): void => {
    copied(bytes);
    allocated(bytes);
  };
  const typedArrays = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
  const restore = [
    watch(typedArrays, 'set', ([source]) => copied((source as Uint8Array).length)),
    watch(typedArrays, 'slice', (_args, made) => both((made as Uint8Array).length)),
    // Its memory is that of allocUnsafe().
    watch(Buffer, 'concat', (_args, made) => copied((made as Uint8Array).length)),
    watch(Buffer, 'from', ([source], made) => {
      if (!(source instanceof ArrayBuffer)) both((made as Uint8Array).length);
    }),
    ...(['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const).map((name) =>
      watch(Buffer, name, (_args, made) => allocated((made as Uint8Array).length)),
    ),
    watchConstructor('Uint8Array', ([source], made) => {
      if (source instanceof ArrayBuffer) return;
      if (typeof source === 'number') allocated(made.byteLength);
      else both(made.byteLength);
    }),
    watchConstructor('ArrayBuffer', (_args, made) => allocated(made.byteLength)),
  ];
  try {
    run();
  } finally {
    for (const each of restore) each();
  }
  return counts;
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

function watch(owner: object, name: string, seen: (args: unknown[], made: unknown) => void): () => void {
  const original = Object.getOwnPropertyDescriptor(owner, name) as PropertyDescriptor & { value: Method };
  const value: Method = function (...args) {
    const made = original.value.apply(this, args);
    seen(args, made);
    return made;
  };
  Object.defineProperty(owner, name, { ...original, value });
  return () => void Object.defineProperty(owner, name, original);
}

type Bytes = Uint8Array | ArrayBuffer;

function watchConstructor(
  name: 'Uint8Array' | 'ArrayBuffer',
  seen: (args: unknown[], made: Bytes) => void,
): () => void {
  const original = globalThis[name];
  const value = new Proxy(original, {
    construct(target, args: unknown[], newTarget) {
      const made = Reflect.construct(target, args, newTarget) as Bytes;
      seen(args, made);
      return made;
    },
  });
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  return () => void Object.defineProperty(globalThis, name, { value: original, configurable: true, writable: true });
}
