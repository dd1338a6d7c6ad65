/** The first byte of a request, where the server has to tell kinds of them apart. */
export const SYNC = 0;
export const SLOW = 1;
export const CANCEL_ME = 2;
export const TELL_ME = 3;
/** What measured messages are filled with. */
export const FILL = 0x5a;

/** Throws when an answer is not what was asked with: so many bytes of {@link FILL}. */
export function expectEcho(answer: Uint8Array, bytes: number): void {
  if (answer.length !== bytes || answer.some((byte) => byte !== FILL)) {
    throw new Error('Expected the server to give back what it got');
  }
}
