/** Chance from a seed: the same seed gives the same run. */
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import type { Random } from "../../pool/random.ts";
import type { Secret } from "../../pool/secrets/secret.ts";
import { generateKeyPair, type SshKeyPair } from "../../pool/ssh/keys.ts";

/** Keys are only compared here, never used; making one takes longer than a simulated minute. */
const keyPairs: SshKeyPair[] = Array.from({ length: 512 }, () => generateKeyPair());
const publicHalves = new Map(keyPairs.map(({ privateKey, publicKey }) => [privateKey.expose(), publicKey]));

/** Of a pair that chance gave; undefined for any other. */
export const publicHalf = (privateKey: Secret): string | undefined => publicHalves.get(privateKey.expose());

export class Chance implements Random {
  readonly #generator: RandomGenerator;
  #keys = 0;

  constructor(seed: number) {
    this.#generator = xoroshiro128plus(seed);
    // Neighbouring seeds begin alike; the first numbers are thrown away.
    for (let i = 0; i < 8; i++) this.number();
  }

  /** 32 bits of chance are enough for probabilities and pauses. */
  readonly number = (): number => (this.#generator.next() >>> 0) / 2 ** 32;

  bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count);
    for (let i = 0; i < count; i++) bytes[i] = this.#generator.next();
    return bytes;
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

  /**
   * As likely within 2 s as between 10 and 20 minutes: what happens while something else is being done finds more than
   * what happens hours later, and costs less.
   */
  soon(low: number, high: number): number {
    return low * (high / low) ** this.number();
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
