/**
 * The leaky bucket of Hetzner's API description, "Rate Limiting": `perHour` requests at once, refilled evenly
 * (3600 an hour: one a second), one bucket a project and one for all unauthenticated requests.
 */
export class RateLimit {
  readonly #perHour: number;
  readonly #now: () => number;
  readonly #buckets = new Map<number | null, { tokens: number; at: number }>();

  constructor(perHour: number, now: () => number) {
    this.#perHour = perHour;
    this.#now = now;
  }

  /** Takes one request out of the bucket. `headers` belong on the answer whether it was allowed or not. */
  take(project: number | null): { allowed: boolean; headers: Record<string, string> } {
    const now = this.#now();
    const perMillisecond = this.#perHour / 3_600_000;
    const bucket = this.#buckets.get(project) ?? { tokens: this.#perHour, at: now };
    const filled = Math.min(this.#perHour, bucket.tokens + (now - bucket.at) * perMillisecond);
    const allowed = filled >= 1;
    const tokens = allowed ? filled - 1 : filled;
    this.#buckets.set(project, { tokens, at: now });
    return {
      allowed,
      headers: {
        "RateLimit-Limit": String(this.#perHour),
        "RateLimit-Remaining": String(Math.floor(tokens)),
        "RateLimit-Reset": String(Math.ceil((now + (this.#perHour - tokens) / perMillisecond) / 1000)),
      },
    };
  }
}
