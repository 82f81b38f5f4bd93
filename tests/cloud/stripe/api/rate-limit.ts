const windowMs = 1_000;

/** The account's limit: 100 calls a second live, 25 in a sandbox. Source: Stripe's documentation of rate limits. */
export class RateLimit {
  readonly #perSecond: number | null;
  readonly #now: () => number;
  #taken: number[] = [];

  /** `perSecond` null: no limit. `now` in epoch ms. */
  constructor(perSecond: number | null, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
  }

  /** Counts a call; false when there were too many. Those that are refused do not count. */
  take(): boolean {
    if (this.#perSecond === null) return true;
    const now = this.#now();
    this.#taken = this.#taken.filter((at) => now - at < windowMs);
    if (this.#taken.length >= this.#perSecond) return false;
    this.#taken.push(now);
    return true;
  }
}
