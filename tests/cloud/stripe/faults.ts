/** What goes wrong on purpose: in calls of the API, in events, and on their way to the webhook. */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { Form, FormValue } from "./form.ts";

const when = z.enum(["before", "after"]).default("before");

/** `before`: the call changes nothing. `after`: it is carried out and only its answer is lost or replaced. */
const callEffect = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("answer"),
    when,
    status: z.int().min(400).max(599),
    error: z.record(z.string(), z.string()).optional(),
    headers: z.record(z.string(), z.string()).optional(),
  }),
  /** 429 of the rate limiter; the reason is the one that Stripe's header names. */
  z.object({
    kind: z.literal("rate-limit"),
    reason: z
      .enum([
        "global-rate",
        "endpoint-rate",
        "global-concurrency",
        "endpoint-concurrency",
        "resource-specific",
      ])
      .default("global-rate"),
  }),
  /** 429 because another call holds the object. */
  z.object({ kind: z.literal("lock-timeout") }),
  /** The call was begun and failed: 500, which its idempotency key then gives again. */
  z.object({ kind: z.literal("crash") }),
  z.object({ kind: z.literal("drop"), when }),
  /** Milliseconds on the stand-in's clock; then the next fault or the call itself. */
  z.object({ kind: z.literal("delay"), ms: z.number().min(0) }),
  /** The call waits until the fault is removed, and is answered as things are then. */
  z.object({ kind: z.literal("hold") }),
]);

const eventEffect = z.discriminatedUnion("kind", [
  /** Stripe fails to make the event: it is neither sent nor listed. */
  z.object({ kind: z.literal("unmade") }),
  /** Two events, with ids of their own, for one change. */
  z.object({ kind: z.literal("twin") }),
]);

const deliveryEffect = z.discriminatedUnion("kind", [
  /** Never sent to this destination, nor repeated; it is still listed. */
  z.object({ kind: z.literal("lose") }),
  /** Sent again, as often as said, although it was answered with 2xx. */
  z.object({ kind: z.literal("duplicate"), copies: z.int().min(1).max(100).default(1) }),
  /** Milliseconds on the stand-in's clock; later events overtake it. */
  z.object({ kind: z.literal("delay"), ms: z.number().min(0) }),
  /** `before`: the connection ends within the body. `after`: all is sent, nobody reads the answer. Both are repeated. */
  z.object({ kind: z.literal("drop"), when }),
  /** Signed 301 s ago, 301 s ahead, or with a secret of nobody. */
  z.object({ kind: z.literal("sign"), as: z.enum(["stale", "future", "foreign"]) }),
  /** One byte differs from what was signed. */
  z.object({ kind: z.literal("garble") }),
]);

const common = {
  /** How many it hits, then it is spent; null: until it is removed. */
  times: z.int().positive().nullable().default(1),
  /** How many matching ones it lets through first. */
  skip: z.int().min(0).default(0),
  /** Of those left, how large a part it hits; drawn from the stand-in's seed. */
  probability: z.number().gt(0).max(1).default(1),
};

const eventMatch = {
  /** `customer.subscription.deleted`, or `customer.subscription.*`. */
  type: z.string().min(1).optional(),
  /** Id of the object that the event is about. */
  object: z.string().optional(),
};

export const faultSchema = z.discriminatedUnion("on", [
  z.strictObject({
    on: z.literal("call"),
    method: z.enum(["GET", "POST", "DELETE"]).optional(),
    /** With /v1 or /v2, without query; `*` is one segment: `/v1/subscriptions/*`. */
    path: z.string().startsWith("/v"),
    /** Parameters that the call must have, by their name as sent: `line_items[0][price]`. */
    form: z.record(z.string(), z.string()).default({}),
    ...common,
    effect: callEffect,
  }),
  z.strictObject({ on: z.literal("event"), ...eventMatch, ...common, effect: eventEffect }),
  z.strictObject({
    on: z.literal("delivery"),
    ...eventMatch,
    /** Id of the webhook endpoint or event destination. */
    destination: z.string().optional(),
    ...common,
    effect: deliveryEffect,
  }),
]);

export type FaultInput = z.input<typeof faultSchema>;
export type CallFault = Extract<FaultInput, { on: "call" }>;
type Parsed = z.output<typeof faultSchema>;
type Of<On extends Parsed["on"]> = Extract<Parsed, { on: On }> & { readonly effect: EffectOf<On> };
type EffectOf<On extends Parsed["on"]> = {
  call: z.output<typeof callEffect>;
  event: z.output<typeof eventEffect>;
  delivery: z.output<typeof deliveryEffect>;
}[On];
export type Fault = Parsed & { readonly id: number; readonly hits: number };
export type CallEffect = z.output<typeof callEffect>;
export type TerminalCallEffect = Exclude<CallEffect, { kind: "delay" | "hold" }>;
export type DeliveryEffect = z.output<typeof deliveryEffect>;

/** One line of the log: which fault hit what. */
export interface FaultHit {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly fault: number;
  readonly effect: string;
  /** The call, or the event's type, its object and where it was sent. */
  readonly what: string;
}

interface Standing {
  readonly order: Parsed;
  matched: number;
  hits: number;
  /** Called when the fault is taken back. */
  readonly waiting: Set<() => void>;
}

/** All that befalls one call. */
export interface Struck {
  readonly delayMs: number;
  /** Faults that keep it waiting until they are taken back. */
  readonly holds: readonly number[];
  readonly effect: TerminalCallEffect | null;
  /** The fault that ended it, else the last one that hit; null when none did. */
  readonly id: number | null;
}

/** Faults that were ordered, in their order. */
export class Faults {
  readonly #seed: number;
  readonly #now: () => number;
  readonly #faults = new Map<number, Standing>();
  readonly #log: FaultHit[] = [];
  #nextId = 1;

  /** @param seed decides what a probability hits. @param now epoch ms */
  constructor(seed: number, now: () => number) {
    this.#seed = seed;
    this.#now = now;
  }

  /** @returns the id, for `remove`. @throws ZodError */
  add(input: FaultInput): number {
    const order = faultSchema.parse(input);
    const id = this.#nextId++;
    this.#faults.set(id, { order, matched: 0, hits: 0, waiting: new Set() });
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

  /** What it holds goes on. */
  remove(id: number): boolean {
    for (const release of this.#faults.get(id)?.waiting ?? []) release();
    return this.#faults.delete(id);
  }

  /** Takes all of them back and empties the log. */
  clear(): void {
    for (const id of [...this.#faults.keys()]) this.remove(id);
    this.#log.length = 0;
  }

  /** Delays add up, the first effect that is neither delay nor hold ends it; later faults are not spent on it. */
  onCall(method: string, path: string, form: Form): Struck {
    let delayMs = 0;
    let last: number | null = null;
    const holds: number[] = [];
    const struck = this.#strike("call", `${method} ${path}`, (fault) =>
      matchesCall(fault, method, path, form),
    );
    for (const { id, effect } of struck) {
      last = id;
      if (effect.kind === "delay") delayMs += effect.ms;
      else if (effect.kind === "hold") holds.push(id);
      else return { delayMs, holds, effect, id };
    }
    return { delayMs, holds, effect: null, id: last };
  }

  /** How many events a change makes: 1, or what a fault says. */
  onEvent(type: string, object: string): number {
    const struck = this.#strike("event", `${type} ${object}`, (fault) => matchesEvent(fault, type, object));
    for (const { effect } of struck) return effect.kind === "unmade" ? 0 : 2;
    return 1;
  }

  /** What befalls one try of a delivery; null for nothing. */
  onDelivery(type: string, object: string, destination: string): DeliveryEffect | null {
    const struck = this.#strike(
      "delivery",
      `${type} ${object} to ${destination}`,
      (fault) =>
        matchesEvent(fault, type, object) &&
        (fault.destination === undefined || fault.destination === destination),
    );
    for (const { effect } of struck) return effect;
    return null;
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
  *#strike<On extends Parsed["on"]>(
    on: On,
    what: string,
    matches: (fault: Of<On>) => boolean,
  ): Generator<{ readonly id: number; readonly effect: EffectOf<On> }> {
    for (const [id, standing] of this.#faults) {
      const { order } = standing;
      if (!isOn(order, on) || !matches(order)) continue;
      if (order.times !== null && standing.hits >= order.times) continue;
      const nth = standing.matched++;
      if (nth < order.skip || !this.#chance(id, nth, order.probability)) continue;
      standing.hits++;
      this.#log.push({ time: this.#now(), fault: id, effect: order.effect.kind, what });
      yield { id, effect: order.effect };
    }
  }

  #chance(id: number, nth: number, probability: number): boolean {
    if (probability === 1) return true;
    const hash = createHash("sha256").update(`${this.#seed}:fault:${id}:${nth}`).digest();
    return hash.readUInt32BE(0) / 2 ** 32 < probability;
  }
}

const isOn = <On extends Parsed["on"]>(order: Parsed, on: On): order is Of<On> => order.on === on;

function matchesCall(
  fault: Extract<Parsed, { on: "call" }>,
  method: string,
  path: string,
  form: Form,
): boolean {
  if (fault.method !== undefined && fault.method !== method) return false;
  const wanted = fault.path.split("/");
  const given = path.split("/");
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => segment === "*" || segment === given[index]) &&
    Object.entries(fault.form).every(([name, value]) => valueAt(form, name) === value)
  );
}

/** The value of `line_items[0][price]` in a decoded form. */
function valueAt(form: Form, name: string): FormValue | undefined {
  let value: FormValue | undefined = form;
  for (const key of name.split(/[[\]]+/).filter((part) => part !== "")) {
    if (typeof value !== "object") return undefined;
    value = Array.isArray(value) ? value[Number(key)] : value[key];
  }
  return value;
}

function matchesEvent(
  wanted: { type?: string | undefined; object?: string | undefined },
  type: string,
  object: string,
): boolean {
  if (wanted.object !== undefined && wanted.object !== object) return false;
  return wanted.type === undefined || matchesType(wanted.type, type);
}

/** `charge.*` takes every type that begins so, as in Stripe's list of events. */
export function matchesType(pattern: string, type: string): boolean {
  return pattern.endsWith("*") ? type.startsWith(pattern.slice(0, -1)) : pattern === type;
}
