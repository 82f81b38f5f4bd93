/** Faults that were ordered, in their order: how often each hits, whom it spares, and a log of what it hit. */
import { createHash } from "node:crypto";
import { z } from "zod";

/** What every fault says beside what it is about. */
export const faultFields = {
  /** How many it hits, then it is spent; null never is. */
  times: z.int().positive().nullable().default(1),
  /** How many that match it lets through first. */
  skip: z.int().min(0).default(0),
  /** Of those left, how large a part it hits; drawn from the seed. */
  probability: z.number().gt(0).max(1).default(1),
};

export interface FaultOrder {
  readonly times: number | null;
  readonly skip: number;
  readonly probability: number;
  readonly effect: { readonly kind: string };
}

/** One line of the log: which fault hit what; `What` says it in the words of the part. */
export type FaultHit<What extends object = object> = What & {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly fault: number;
  readonly effect: string;
};

interface Standing<Order> {
  readonly order: Order;
  matched: number;
  hits: number;
  /** Called when the fault is taken back. */
  readonly waiting: Set<() => void>;
}

/** They live in memory: a restart forgets them. */
export class FaultList<Order extends FaultOrder, What extends object> {
  readonly #seed: number;
  readonly #now: () => number;
  readonly #faults = new Map<number, Standing<Order>>();
  readonly #log: FaultHit<What>[] = [];
  readonly #changed: () => void;
  #nextId = 1;

  /**
   * @param seed decides what a probability hits
   * @param now epoch ms
   * @param changed told when a fault was added, hit something or was taken back
   */
  constructor(seed: number, now: () => number, changed: () => void = () => {}) {
    this.#seed = seed;
    this.#now = now;
    this.#changed = changed;
  }

  /** @returns the id, for `remove` */
  put(order: Order): number {
    const id = this.#nextId++;
    this.#faults.set(id, { order, matched: 0, hits: 0, waiting: new Set() });
    this.#changed();
    return id;
  }

  /** Spent ones included, so that a test can see what was hit. */
  list(): readonly (Order & { readonly id: number; readonly hits: number })[] {
    return [...this.#faults].map(([id, { order, hits }]) => ({ ...order, id, hits }));
  }

  /** What was hit, oldest first, by faults that were taken back too. */
  log(): readonly FaultHit<What>[] {
    return [...this.#log];
  }

  /** What it holds goes on. */
  remove(id: number): boolean {
    const standing = this.#faults.get(id);
    this.#faults.delete(id);
    for (const release of standing?.waiting ?? []) release();
    this.#changed();
    return standing !== undefined;
  }

  /** Takes all of them back and empties the log. */
  clear(): void {
    for (const id of [...this.#faults.keys()]) this.remove(id);
    this.#log.length = 0;
  }

  /** The faults that hit `what`. Lazy: a fault is spent only when the caller asks for it. */
  *strike<Wanted extends Order>(
    what: What,
    matches: (order: Order) => order is Wanted,
  ): Generator<{ readonly id: number; readonly order: Wanted }> {
    for (const [id, standing] of this.#faults) {
      const { order } = standing;
      if (!matches(order)) continue;
      if (order.times !== null && standing.hits >= order.times) continue;
      const nth = standing.matched++;
      if (nth < order.skip || !this.#chance(id, nth, order.probability)) continue;
      standing.hits++;
      this.#log.push({ ...what, time: this.#now(), fault: id, effect: order.effect.kind });
      this.#changed();
      yield { id, order };
    }
  }

  /** Resolves when the fault is taken back, or at once when it is already, or when `signal` aborts. */
  lifted(id: number, signal: AbortSignal): Promise<void> {
    const standing = this.#faults.get(id);
    return new Promise((resolve) => {
      if (!standing || signal.aborted) return resolve();
      const release = () => {
        standing.waiting.delete(release);
        signal.removeEventListener("abort", release);
        resolve();
      };
      standing.waiting.add(release);
      signal.addEventListener("abort", release, { once: true });
    });
  }

  #chance(id: number, nth: number, probability: number): boolean {
    if (probability === 1) return true;
    const hash = createHash("sha256").update(`${this.#seed}:fault:${id}:${nth}`).digest();
    return hash.readUInt32BE(0) / 2 ** 32 < probability;
  }
}
