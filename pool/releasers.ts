/** What was started, to be stopped in the opposite order, also when the start failed half way. */
import type { Logger } from "pino";

export class Releasers {
  readonly #list: { name: string; release: () => unknown }[] = [];

  add(name: string, release: () => unknown): void {
    this.#list.push({ name, release });
  }

  /** Stops everything, whatever fails on the way. @throws AggregateError with all that failed. */
  async release(log: Logger): Promise<void> {
    const errors: Error[] = [];
    for (let last = this.#list.pop(); last; last = this.#list.pop()) {
      log.debug({ part: last.name }, "stopping");
      try {
        await last.release();
      } catch (error) {
        errors.push(new Error(`${last.name} did not stop cleanly`, { cause: error }));
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, "not everything stopped cleanly");
  }
}
