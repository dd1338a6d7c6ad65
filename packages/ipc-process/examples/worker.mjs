// What controller.mjs spawns. Started by hand it does nothing.
import { createIpc, RpcTarget } from '@spanwire/ipc-process';
import { interval } from 'rxjs';

class Store extends RpcTarget {
  /** @type {Map<string, number>} */
  #values = new Map();

  /**
   * @param {string} key
   * @param {number} value
   */
  set(key, value) {
    this.#values.set(key, value);
  }

  /** @param {string} key */
  get(key) {
    return this.#values.get(key) ?? null;
  }
}

export class Worker extends RpcTarget {
  store() {
    return new Store();
  }

  /**
   * @param {number} from
   * @param {number} to
   * @param {{ set(key: string, value: number): unknown }} store here or elsewhere: it is called in the same way
   */
  async countPrimes(from, to, store) {
    let count = 0;
    for (let n = Math.max(from, 2); n < to; n++) if (isPrime(n)) count++;
    await store.set(`${from}-${to}`, count);
  }

  /**
   * @param {number} steps
   * @param {(step: number) => unknown} done
   */
  async inSteps(steps, done) {
    for (let step = 1; step <= steps; step++) await done(step);
  }

  /** @param {number} milliseconds */
  heartbeats(milliseconds) {
    return interval(milliseconds);
  }

  /** @returns {Promise<void>} */
  never() {
    return new Promise(() => {});
  }
}

/** @param {number} n */
function isPrime(n) {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false;
  return true;
}

const { served, exitStatus } = await createIpc({ init: new Worker() }).startSpawnedProcess(process.argv);
if (served) process.exit(exitStatus);
