import { z } from "zod";
import { faultFields } from "../../fault-list.ts";
import { durations } from "../catalogue/durations.ts";
import { documentedCodes } from "./errors.ts";

/** `before`: the request changes nothing. `after`: it is carried out and only its answer is lost or replaced. */
const when = z.enum(["before", "after"]).default("before");

const errorShape = z.object({
  code: z.string(),
  message: z.string(),
  details: z.unknown().default(null),
});

/** What befalls a request. */
const requestEffects = [
  /** A documented error by its code; `bare` sends the status alone, without JSON. */
  z.object({
    kind: z.literal("error"),
    code: z.enum(documentedCodes),
    when,
    bare: z.boolean().default(false),
    message: z.string().optional(),
  }),
  /** Any status; without `error` it is bare. */
  z.object({
    kind: z.literal("answer"),
    when,
    status: z.int().min(400).max(599),
    error: errorShape.optional(),
    headers: z.record(z.string(), z.string()).optional(),
  }),
  /** The connection is cut and there is no answer. */
  z.object({ kind: z.literal("drop"), when }),
  /** Milliseconds on the emulator's clock; `after` has the change made first. Then the next fault, or the answer. */
  z.object({ kind: z.literal("delay"), ms: z.number().min(0), when }),
  /** A list that shows only its first `keep` entries, and says that there are no more. */
  z.object({ kind: z.literal("short_list"), keep: z.int().min(0).default(0) }),
  /**
   * The server that the path names (or that this order made) is gone, machine and bill included, and nobody deleted
   * it. `machine`: only its host is lost; the API shows it as off, and it cannot be switched on.
   */
  z.object({ kind: z.literal("vanish"), what: z.enum(["server", "machine"]).default("server") }),
] as const;

/** What befalls an order of a server when everything about it is right. */
const stockEffect = z.object({
  kind: z.literal("stock_out"),
  /** True: `available` in the catalogue still says that there are some. */
  hidden: z.boolean().default(false),
});

/**
 * What befalls the machine behind an order; the API shows nothing of it. `reused-address`: until it is spent, an
 * address that is given back is the next to be given away.
 */
const machineEffect = z.object({
  kind: z.literal("machine"),
  fault: z.enum(["never-boots", "no-network", "other-host-key", "reused-address"]),
});

/** What befalls an action. */
const actionEffects = [
  /** Runs until this fault is taken back, with all that it locks. */
  z.object({ kind: z.literal("action_hangs") }),
  /** Ends in error when its time is over; `after`: what it was to do is done all the same. */
  z.object({
    kind: z.literal("action_fails"),
    when,
    error: errorShape.omit({ details: true }).default({ code: "action_failed", message: "Action failed" }),
  }),
] as const;

const effectSchema = z.discriminatedUnion("kind", [
  ...requestEffects,
  stockEffect,
  machineEffect,
  ...actionEffects,
]);

const scalar = z.union([z.string(), z.number(), z.boolean()]);
const commands = Object.keys(durations) as [string, ...string[]];

export const faultSchema = z
  .object({
    method: z.enum(["GET", "POST", "PUT", "DELETE"]).optional(),
    /** Below /v1, without query; `*` is one segment: `/servers`, `/servers/*`, `/servers/*\/actions/poweron`. */
    path: z.string().startsWith("/").optional(),
    /** Each of these parameters has this value. */
    query: z.record(z.string(), z.string()).optional(),
    /** Each of these fields of the request's body has this value or one of these; `public_net.enable_ipv4` goes inside. */
    body: z.record(z.string(), z.union([scalar, z.array(scalar)])).optional(),
    /** The server that the request orders, that its path names or that the action is about; `*` in a name is anything. */
    server: z
      .object({ name: z.string(), type: z.string(), location: z.string() })
      .partial()
      .strict()
      .optional(),
    /** Of the token. */
    project: z.int().positive().optional(),
    /** Of an action. */
    command: z.enum(commands).optional(),
    ...faultFields,
    effect: effectSchema,
  })
  .strict()
  .superRefine((fault, context) => {
    const refuse = (message: string) => context.addIssue({ code: "custom", message });
    const phase = phaseOf(fault.effect.kind);
    const ofRequest = ["method", "path", "query", "body"] as const;
    if (phase === "action" && ofRequest.some((key) => fault[key] !== undefined)) {
      refuse("an action is matched by command, server and project");
    }
    if (phase !== "action" && fault.command !== undefined) refuse("`command` belongs to action faults");
    if (phase === "request" && fault.path === undefined) refuse("a fault of requests needs a path");
  });

export type FaultInput = z.input<typeof faultSchema>;
export type FaultOrder = z.output<typeof faultSchema>;
export type FaultEffect = z.output<typeof effectSchema>;
export type EffectOf<K extends FaultEffect["kind"]> = Extract<FaultEffect, { kind: K }>;
export type MachineFault = EffectOf<"machine">["fault"];

/** When an effect is looked for: as a request comes in, an order is placed, a machine is made, an action starts. */
export type Phase = "request" | "order" | "machine" | "action";

export function phaseOf(kind: FaultEffect["kind"]): Phase {
  switch (kind) {
    case "stock_out":
      return "order";
    case "machine":
      return "machine";
    case "action_hangs":
    case "action_fails":
      return "action";
    default:
      return "request";
  }
}
