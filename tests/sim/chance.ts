/** Chance from a seed: the same seed gives the same run. */
import type { Random } from "../../pool/random.ts";
import { generateKeyPair, type SshKeyPair } from "../../pool/ssh/keys.ts";

/** Keys are only compared here, never used; making one takes longer than a simulated minute. */
const keyPairs: SshKeyPair[] = Array.from({ length: 512 }, () => generateKeyPair());

export class Chance implements Random {
  #state: number;
  #keys = 0;

  constructor(seed: number) {
    this.#state = seed >>> 0;
    // Neighbouring seeds begin alike; the first numbers are thrown away.
    for (let i = 0; i < 8; i++) this.number();
  }

  /** Mulberry32 (Tommy Ettinger, public domain): 32 bits of state, passes what a simulation needs. */
  readonly number = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => Math.floor(this.number() * 256)));
  }

  /** Each at most once in a run of up to 512. */
  keyPair(): SshKeyPair {
    const pair = keyPairs[this.#keys++ % keyPairs.length];
    if (!pair) throw new Error("no key pairs");
    return pair;
  }

  happens(probability: number): boolean {
    return this.number() < probability;
  }

  between(low: number, high: number): number {
    return low + this.number() * (high - low);
  }

  integer(low: number, high: number): number {
    return Math.floor(this.between(low, high + 1));
  }

  pick<T>(list: readonly T[]): T {
    const item = list[this.integer(0, list.length - 1)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }
}
