/** Idempotency keys of API v1: the first answer of a call that was begun is given again for 24 hours. */
import { createHash } from "node:crypto";
import { ApiError } from "../errors.ts";

export interface SavedAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
}

/** Source: Stripe's API reference, "Idempotent requests": keys may be removed after at least a day. */
const keptMs = 24 * 3_600_000;
const longest = 255;

export class IdempotencyKeys {
  readonly #now: () => number;
  readonly #saved = new Map<string, { fingerprint: string; at: number; answer: SavedAnswer | null }>();

  /** `now` in epoch ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * Takes the key for a call, told by what it sends.
   * @returns the answer to give again; null when the call is to be carried out
   * @throws ApiError for a key that is too long, was used for something else, or is in use right now
   */
  begin(key: string, call: readonly unknown[]): SavedAnswer | null {
    if (key.length > longest) {
      throw new ApiError(400, {
        message: `Idempotency-Key must be at most ${longest} characters long; yours has ${key.length}.`,
      });
    }
    const fingerprint = createHash("sha256").update(JSON.stringify(call)).digest("hex");
    const before = this.#saved.get(key);
    if (!before || this.#now() - before.at >= keptMs) {
      this.#saved.set(key, { fingerprint, at: this.#now(), answer: null });
      return null;
    }
    if (before.fingerprint !== fingerprint) {
      throw new ApiError(400, {
        type: "idempotency_error",
        message: `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' if you meant to execute a different request.`,
      });
    }
    if (before.answer === null) {
      throw new ApiError(409, {
        type: "idempotency_error",
        code: "idempotency_key_in_use",
        message: `There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): ${key}. Please try again later.`,
      });
    }
    return before.answer;
  }

  /** The call was carried out, or failed on the way. */
  keep(key: string, answer: SavedAnswer): void {
    const begun = this.#saved.get(key);
    if (begun) this.#saved.set(key, { ...begun, answer: structuredClone(answer) });
  }

  /** The call was refused before it was begun; its key is free again. */
  forget(key: string): void {
    if (this.#saved.get(key)?.answer === null) this.#saved.delete(key);
  }
}
