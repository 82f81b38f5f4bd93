/** What goes wrong on purpose: in calls of the API, in events, and on their way to the webhook. */
import { z } from "zod";
import { FaultList, faultFields } from "../fault-list.ts";
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
    ...faultFields,
    effect: callEffect,
  }),
  z.strictObject({ on: z.literal("event"), ...eventMatch, ...faultFields, effect: eventEffect }),
  z.strictObject({
    on: z.literal("delivery"),
    ...eventMatch,
    /** Id of the webhook endpoint or event destination. */
    destination: z.string().optional(),
    ...faultFields,
    effect: deliveryEffect,
  }),
]);

export type FaultInput = z.input<typeof faultSchema>;
export type CallFault = Extract<FaultInput, { on: "call" }>;
type Parsed = z.output<typeof faultSchema>;
type Of<On extends Parsed["on"]> = Extract<Parsed, { on: On }>;
export type CallEffect = z.output<typeof callEffect>;
export type TerminalCallEffect = Exclude<CallEffect, { kind: "delay" | "hold" }>;
export type DeliveryEffect = z.output<typeof deliveryEffect>;

/** All that befalls one call. */
export interface Struck {
  readonly delayMs: number;
  /** Faults that keep it waiting until they are taken back. */
  readonly holds: readonly number[];
  readonly effect: TerminalCallEffect | null;
  /** The fault that ended it, else the last one that hit; null when none did. */
  readonly id: number | null;
}

export class Faults extends FaultList<Parsed, { readonly what: string }> {
  /** @returns the id, for `remove`. @throws ZodError */
  add(input: FaultInput): number {
    return this.put(faultSchema.parse(input));
  }

  /** Delays add up, the first effect that is neither delay nor hold ends it; later faults are not spent on it. */
  onCall(method: string, path: string, form: Form): Struck {
    let delayMs = 0;
    let last: number | null = null;
    const holds: number[] = [];
    const struck = this.strike(
      { what: `${method} ${path}` },
      (order): order is Of<"call"> => order.on === "call" && matchesCall(order, method, path, form),
    );
    for (const { id, order } of struck) {
      const { effect } = order;
      last = id;
      if (effect.kind === "delay") delayMs += effect.ms;
      else if (effect.kind === "hold") holds.push(id);
      else return { delayMs, holds, effect, id };
    }
    return { delayMs, holds, effect: null, id: last };
  }

  /** How many events a change makes: 1, or what a fault says. */
  onEvent(type: string, object: string): number {
    const struck = this.strike(
      { what: `${type} ${object}` },
      (order): order is Of<"event"> => order.on === "event" && matchesEvent(order, type, object),
    );
    for (const { order } of struck) return order.effect.kind === "unmade" ? 0 : 2;
    return 1;
  }

  /** What befalls one try of a delivery; null for nothing. */
  onDelivery(type: string, object: string, destination: string): DeliveryEffect | null {
    const struck = this.strike(
      { what: `${type} ${object} to ${destination}` },
      (order): order is Of<"delivery"> =>
        order.on === "delivery" &&
        matchesEvent(order, type, object) &&
        (order.destination === undefined || order.destination === destination),
    );
    for (const { order } of struck) return order.effect;
    return null;
  }
}

function matchesCall(fault: Of<"call">, method: string, path: string, form: Form): boolean {
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
