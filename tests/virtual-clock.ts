/** A clock that only moves when told; timers fire in order of their time. */
import type { Clock } from "../pool/clock.ts";

interface Timer {
  readonly at: number;
  readonly fire: () => void;
}

export class VirtualClock implements Clock {
  #now = Date.parse("2026-01-01T00:00:00Z");
  #timers: Timer[] = [];

  now(): number {
    return this.#now;
  }

  /** Delays that nobody ended yet. */
  get waiting(): number {
    return this.#timers.length;
  }

  delay(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer: Timer = { at: this.#now + ms, fire: resolve };
      this.#timers.push(timer);
      signal?.addEventListener(
        "abort",
        () => {
          this.#timers = this.#timers.filter((other) => other !== timer);
          resolve();
        },
        { once: true },
      );
    });
  }

  /** Fires everything up to `ms` from now, letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settled();
    for (;;) {
      const next = this.#next();
      if (!next || next.at > until) break;
      await this.#fire(next);
    }
    this.#now = until;
    await settled();
  }

  /** Moves on from timer to timer until `promise` is settled. @throws when nothing is left that could settle it. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const mark = () => {
      done = true;
    };
    promise.then(mark, mark);
    await settled();
    while (!done) {
      const next = this.#next();
      if (!next) throw new Error("the promise waits for something that is not on this clock");
      await this.#fire(next);
    }
    return promise;
  }

  #next(): Timer | undefined {
    return this.#timers.reduce<Timer | undefined>((a, b) => (a && a.at <= b.at ? a : b), undefined);
  }

  async #fire(timer: Timer): Promise<void> {
    this.#timers = this.#timers.filter((other) => other !== timer);
    this.#now = Math.max(this.#now, timer.at);
    timer.fire();
    await settled();
  }
}

/** Every promise that can settle without I/O or time has settled when a macrotask comes round. */
export const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Real time, `factor` times as fast: for tests over real sockets that would otherwise wait for jittered pauses. */
export function fastClock(factor: number): Clock {
  const start = Date.now();
  return {
    now: () => start + (Date.now() - start) * factor,
    delay: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const timer = setTimeout(resolve, ms / factor);
        const stop = () => {
          clearTimeout(timer);
          resolve();
        };
        signal?.addEventListener("abort", stop, { once: true });
      }),
  };
}
