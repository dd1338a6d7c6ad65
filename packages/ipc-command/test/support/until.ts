/** Asks again, a turn of the event loop later, until the answer is what is waited for. */
export async function until<T>(ask: () => T | Promise<T>, enough: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (enough(answer)) return answer;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
