/** The tailnet's time: another clock's, plus what tests have put on top. */
import { type Clock, systemClock } from "../../../pool/clock.ts";

export class ShiftedClock implements Clock {
  readonly #base: Clock;
  readonly #waiting = new Map<AbortController, number>();
  #offsetMs = 0;

  constructor(base: Clock = systemClock) {
    this.#base = base;
  }

  now(): number {
    return this.#base.now() + this.#offsetMs;
  }

  async delay(ms: number, signal?: AbortSignal): Promise<void> {
    const due = new AbortController();
    const until = this.now() + ms;
    this.#waiting.set(due, until);
    const either = signal ? AbortSignal.any([due.signal, signal]) : due.signal;
    await this.#base.delay(ms, either);
    this.#waiting.delete(due);
  }

  /** Ends the delays that are over by then. */
  advance(ms: number): void {
    this.#offsetMs += ms;
    for (const [due, until] of this.#waiting) if (until <= this.now()) due.abort();
  }
}
