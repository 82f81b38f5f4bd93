import { createHash } from "node:crypto";
import { matches, type Subject } from "./faults/match.ts";
import {
  type EffectOf,
  type FaultEffect,
  type FaultInput,
  type FaultOrder,
  faultSchema,
  type MachineFault,
  type Phase,
  phaseOf,
} from "./faults/schema.ts";

export type { FaultEffect, FaultInput, MachineFault } from "./faults/schema.ts";

export interface Fault extends FaultOrder {
  readonly id: number;
  /** How many it has hit so far. */
  readonly hits: number;
}

/** One line of the log: which fault hit what. */
export interface FaultHit {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly fault: number;
  readonly effect: FaultEffect["kind"];
  readonly project: number | null;
  /** Null with actions. */
  readonly method: string | null;
  readonly path: string | null;
  readonly command: string | null;
  /** Name of the server that it is about. */
  readonly server: string | null;
}

export type TerminalEffect = EffectOf<"error" | "answer" | "drop">;
export type ActionEffect = EffectOf<"action_hangs" | "action_fails">;

/** All that befalls one request. */
export interface Struck {
  /** The fault that ended it, else the last one that hit; null when none did. */
  readonly id: number | null;
  /** Milliseconds, before and after the change. */
  readonly delays: Readonly<Record<"before" | "after", number>>;
  /** `machine`: the API still shows the server. */
  readonly vanishes: "server" | "machine" | null;
  /** How many entries a list shows. */
  readonly keep: number | null;
  readonly effect: TerminalEffect | null;
}

interface Standing {
  readonly order: FaultOrder;
  matched: number;
  hits: number;
  /** Called when the fault is taken back. */
  readonly waiting: Set<() => void>;
}

/** Faults that were ordered, in their order. They live in memory: a restart forgets them. */
export class Faults {
  readonly #seed: number;
  readonly #now: () => number;
  readonly #faults = new Map<number, Standing>();
  readonly #log: FaultHit[] = [];
  readonly #changed: () => void;
  #nextId = 1;

  /**
   * @param seed decides what a probability hits
   * @param changed told when a fault was added, spent or taken back
   */
  constructor(seed: number, now: () => number, changed: () => void = () => {}) {
    this.#seed = seed;
    this.#now = now;
    this.#changed = changed;
  }

  /** @returns the id, for `remove`. @throws ZodError */
  add(input: FaultInput): number {
    const order = faultSchema.parse(input);
    const id = this.#nextId++;
    this.#faults.set(id, { order, matched: 0, hits: 0, waiting: new Set() });
    this.#changed();
    return id;
  }

  /** Spent ones included, so that a test can see what was hit. */
  list(): readonly Fault[] {
    return [...this.#faults].map(([id, { order, hits }]) => ({ ...order, id, hits }));
  }

  /** What was hit, oldest first, by faults that were taken back too. */
  log(): readonly FaultHit[] {
    return [...this.#log];
  }

  /** Actions that it keeps from ending go on. */
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

  /** Delays add up, the first error, answer or drop ends it; later faults are not spent on it. */
  onRequest(subject: Subject): Struck {
    const delays = { before: 0, after: 0 };
    let vanishes: Struck["vanishes"] = null;
    let keep: number | null = null;
    let last: number | null = null;
    for (const { id, effect } of this.#strike("request", subject)) {
      last = id;
      if (effect.kind === "delay") delays[effect.when] += effect.ms;
      else if (effect.kind === "vanish") vanishes = effect.what;
      else if (effect.kind === "short_list") keep = Math.min(keep ?? effect.keep, effect.keep);
      else if (effect.kind === "error" || effect.kind === "answer" || effect.kind === "drop") {
        return { id, delays, vanishes, keep, effect };
      }
    }
    return { id: last, delays, vanishes, keep, effect: null };
  }

  /** True: the order, which is right in every way, is refused because there is no such server to sell there. */
  onOrder(subject: Subject): boolean {
    return first(this.#strike("order", subject)) !== null;
  }

  /** All that the machine behind an order has. */
  onMachine(subject: Subject): MachineFault[] {
    const struck = [...this.#strike("machine", subject)];
    return struck.flatMap(({ effect }) => (effect.kind === "machine" ? [effect.fault] : []));
  }

  /** True while there is such a fault that is not spent, whatever it would hit. */
  expects(fault: MachineFault): boolean {
    return [...this.#faults.values()].some(
      ({ order: { effect, times }, hits }) =>
        effect.kind === "machine" && effect.fault === fault && (times === null || hits < times),
    );
  }

  onAction(subject: Subject): { readonly id: number; readonly effect: ActionEffect } | null {
    const { id, effect } = first(this.#strike("action", subject)) ?? {};
    if (id === undefined || (effect?.kind !== "action_hangs" && effect?.kind !== "action_fails")) return null;
    return { id, effect };
  }

  /** What the catalogue shows: false while a stock-out that is neither spent, hidden nor left to chance hits it. */
  showsStock(type: string, location: string): boolean {
    return ![...this.#faults.values()].some(({ order, hits }) => {
      const { effect, server, times, probability, project } = order;
      return (
        effect.kind === "stock_out" &&
        !effect.hidden &&
        (times === null || hits < times) &&
        probability === 1 &&
        project === undefined &&
        server?.name === undefined &&
        (server?.type ?? type) === type &&
        (server?.location ?? location) === location
      );
    });
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

  /** Lazy: a fault is spent only when the caller asks for it. */
  *#strike(phase: Phase, subject: Subject): Generator<{ id: number; effect: FaultEffect }> {
    for (const [id, standing] of this.#faults) {
      const { order } = standing;
      if (phaseOf(order.effect.kind) !== phase || !matches(order, subject)) continue;
      if (order.times !== null && standing.hits >= order.times) continue;
      const nth = standing.matched++;
      if (nth < order.skip || !this.#chance(id, nth, order.probability)) continue;
      standing.hits++;
      this.#log.push({
        time: this.#now(),
        fault: id,
        effect: order.effect.kind,
        project: subject.project,
        method: subject.method ?? null,
        path: subject.path ?? null,
        command: subject.command ?? null,
        server: subject.server?.name ?? null,
      });
      this.#changed();
      yield { id, effect: order.effect };
    }
  }

  #chance(id: number, nth: number, probability: number): boolean {
    if (probability === 1) return true;
    const hash = createHash("sha256").update(`${this.#seed}:fault:${id}:${nth}`).digest();
    return hash.readUInt32BE(0) / 2 ** 32 < probability;
  }
}

function first<T>(found: Iterable<T>): T | null {
  for (const one of found) return one;
  return null;
}
