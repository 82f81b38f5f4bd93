import { FaultList } from "../fault-list.ts";
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

/** What a fault hit. */
interface Hit {
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

export class Faults extends FaultList<FaultOrder, Hit> {
  /** @returns the id, for `remove`. @throws ZodError */
  add(input: FaultInput): number {
    return this.put(faultSchema.parse(input));
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
    return this.list().some(
      ({ effect, times, hits }) =>
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
    return !this.list().some(({ effect, server, times, probability, project, hits }) => {
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

  *#strike(phase: Phase, subject: Subject): Generator<{ id: number; effect: FaultEffect }> {
    const hit: Hit = {
      project: subject.project,
      method: subject.method ?? null,
      path: subject.path ?? null,
      command: subject.command ?? null,
      server: subject.server?.name ?? null,
    };
    const isHit = (order: FaultOrder): order is FaultOrder =>
      phaseOf(order.effect.kind) === phase && matches(order, subject);
    for (const { id, order } of this.strike(hit, isHit)) yield { id, effect: order.effect };
  }
}

function first<T>(found: Iterable<T>): T | null {
  for (const one of found) return one;
  return null;
}
