/** To sleep on, for threads that may: nobody wakes it. */
export const NEVER: Int32Array<SharedArrayBuffer> = new Int32Array(new SharedArrayBuffer(4));
