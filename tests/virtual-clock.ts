/** A clock that only moves when told; timers fire in order of their time. */
import type { Clock } from "../pool/clock.ts";

interface Timer {
  readonly at: number;
  /** Timers of the same time fire in the order in which they were set. */
  readonly order: number;
  /** Null when it fired or was aborted. */
  fire: (() => void) | null;
}

const isBefore = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

export class VirtualClock implements Clock {
  #now = Date.parse("2026-01-01T00:00:00Z");
  /** A binary heap, the next at the front; what was aborted is thrown out when it gets there. */
  readonly #timers: Timer[] = [];
  #set = 0;
  #waiting = 0;

  now(): number {
    return this.#now;
  }

  /** Delays that nobody ended yet. */
  get waiting(): number {
    return this.#waiting;
  }

  delay(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer: Timer = { at: this.#now + ms, order: this.#set++, fire: resolve };
      this.#push(timer);
      this.#waiting += 1;
      if (!signal) return;
      const end = () => {
        if (timer.fire === null) return;
        timer.fire = null;
        this.#waiting -= 1;
        resolve();
      };
      signal.addEventListener("abort", end, { once: true });
    });
  }

  /** Fires everything up to `ms` from now, letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await this.settle();
    for (;;) {
      const next = this.#next();
      if (!next || next.at > until) break;
      await this.#fire(next);
    }
    this.#now = until;
    await this.settle();
  }

  /** Moves on from timer to timer until `promise` is settled. @throws when nothing is left that could settle it. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const mark = () => {
      done = true;
    };
    promise.then(mark, mark);
    await this.settle();
    while (!done) {
      const next = this.#next();
      if (next) await this.#fire(next);
      else await this.#others(() => done);
    }
    return promise;
  }

  /** Lets everything go on that need not wait for time. */
  protected settle(): Promise<void> {
    return settled();
  }

  /** Another may wait on this clock too, and have fired what is waited for here a moment ago. */
  async #others(isDone: () => boolean): Promise<void> {
    await settled();
    if (isDone() || this.#next()) return;
    throw new Error("the promise waits for something that is not on this clock");
  }

  #next(): Timer | undefined {
    while (this.#timers[0]?.fire === null) this.#pop();
    return this.#timers[0];
  }

  async #fire(timer: Timer): Promise<void> {
    const { fire } = timer;
    this.#pop();
    timer.fire = null;
    this.#waiting -= 1;
    this.#now = Math.max(this.#now, timer.at);
    fire?.();
    await this.settle();
  }

  #push(timer: Timer): void {
    const timers = this.#timers;
    let hole = timers.push(timer) - 1;
    for (;;) {
      const above = timers[(hole - 1) >> 1];
      if (hole === 0 || !above || !isBefore(timer, above)) break;
      timers[hole] = above;
      hole = (hole - 1) >> 1;
    }
    timers[hole] = timer;
  }

  #pop(): void {
    const timers = this.#timers;
    const last = timers.pop();
    if (!last || timers.length === 0) return;
    let hole = 0;
    for (;;) {
      const [left, right] = [timers[2 * hole + 1], timers[2 * hole + 2]];
      if (!left) break;
      const [below, at] = right && isBefore(right, left) ? [right, 2 * hole + 2] : [left, 2 * hole + 1];
      if (!isBefore(below, last)) break;
      timers[hole] = below;
      hole = at;
    }
    timers[hole] = last;
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
