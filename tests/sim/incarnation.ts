/**
 * One life of the daemon: from its start to its end or its death. Death is a SIGKILL: nothing of it runs any further,
 * what it asked of others goes on without it. Every call of a border and every transaction of the store is a point at
 * which it may die, before and after; they are counted, so that a test can name each.
 */
import type { Clock } from "../../pool/clock.ts";
import type { Store } from "../../pool/store/store.ts";

/** Thrown out of a transaction that a dead daemon begins. */
export class Killed extends Error {
  override readonly name = "Killed";
}

const never = new Promise<never>(() => {});

export class Incarnation {
  /** Points passed so far. */
  points = 0;
  readonly clock: Clock;
  /** Resolves at its death. */
  readonly died: Promise<void>;
  #dead = false;
  readonly #killAt: number | null;
  readonly #die: () => void;
  readonly #count: () => void;

  /**
   * @param killAt the point at which it dies; null lets it live
   * @param count told of each call and each transaction
   */
  constructor(clock: Clock, killAt: number | null, count: () => void, onDeath: () => void) {
    this.#killAt = killAt;
    this.#count = count;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.died = promise;
    this.#die = () => {
      this.#dead = true;
      resolve();
      onDeath();
    };
    this.clock = {
      now: () => clock.now(),
      delay: async (ms, signal) => {
        await clock.delay(ms, signal);
        if (this.#dead) await never;
      },
    };
  }

  get dead(): boolean {
    return this.#dead;
  }

  kill(): void {
    if (!this.#dead) this.#die();
  }

  /** False when it is dead, or dies here. */
  #survives(): boolean {
    if (this.#dead) return false;
    this.points += 1;
    if (this.points === this.#killAt) this.#die();
    return !this.#dead;
  }

  /** Wraps a border's call. */
  async call<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#survives()) return never;
    this.#count();
    const settled = await work().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    if (!this.#survives()) return never;
    if ("error" in settled) throw settled.error;
    return settled.value;
  }

  /** Wraps every verb of the store. */
  store(store: Store): Store {
    const wrapped: Record<string, unknown> = {};
    for (const [verb, work] of Object.entries(store) as [string, (...args: unknown[]) => unknown][]) {
      wrapped[verb] = (...args: unknown[]) => {
        if (!this.#survives()) throw new Killed();
        const result = work(...args);
        // Reading changes nothing that could be torn.
        if (!writes.has(verb)) return result;
        this.#count();
        if (!this.#survives()) throw new Killed();
        return result;
      };
    }
    return wrapped as unknown as Store;
  }
}

const writes: ReadonlySet<string> = new Set<keyof Store>([
  "planMachine",
  "changeMachine",
  "createOrder",
  "attachCheckout",
  "keepEvent",
  "acceptPayment",
  "expireOrder",
  "endSubscription",
  "claimForQueue",
  "recordServing",
  "recordHandOverFailure",
  "releaseOrder",
  "recordDestroyed",
  "appendStep",
  "audit",
  "flag",
  "clearFlag",
  "stopRefill",
  "keepSpecimen",
  "resumeRefill",
  "putSetting",
  "rememberState",
]);
