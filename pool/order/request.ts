/** `POST /v1/orders` as callers send it: checked once here, so that the rest sees only what is allowed. */
import { z } from "zod";
import type { PlanConfig, PoolConfig, Regions } from "../config/config.ts";
import { readEnvironment } from "./environment.ts";

/** What is wrong with one field; `field` in the caller's spelling, e.g. `env.DISCORD_TOKEN`. */
export interface FieldProblem {
  readonly field: string;
  readonly detail: string;
  readonly remedy: string;
}

/**
 * The request cannot be taken. `invalid`: fields are wrong; `conflict`: it contradicts what we have already;
 * the remedy says what to send instead. No message repeats a value.
 */
export class OrderRequestError extends Error {
  override readonly name = "OrderRequestError";
  readonly kind: "invalid" | "conflict";
  readonly problems: readonly [FieldProblem, ...FieldProblem[]];

  constructor(kind: "invalid" | "conflict", problems: readonly [FieldProblem, ...FieldProblem[]]) {
    super(problems.map(({ field, detail }) => `${field}: ${detail}`).join("; "));
    this.kind = kind;
    this.problems = problems;
  }
}

export interface OrderRequest {
  readonly customer: string;
  readonly plan: PlanConfig;
  readonly region: string;
  readonly agentName: string;
  readonly env: Readonly<Record<string, string>>;
  /** `provider/model`, when the agent's default is not to be the pool's. */
  readonly model: string | null;
  readonly checkout:
    | { readonly by: "us" }
    /** The caller makes a session with `client_reference_id` = the order's id. */
    | { readonly by: "caller" }
    /** The caller made this session before. */
    | { readonly by: "session"; readonly session: string };
}

/** What each field wants, said to whoever got it wrong. */
const wanted: Readonly<Record<string, string>> = {
  customer: "your own id of the customer: 1-200 of A-Z a-z 0-9 . _ : @ + | / = -, first a letter or digit",
  plan: "the name of a plan",
  region: "the name of a region",
  agent_name: "1-63 letters (of any script), digits, spaces, . _ -, first a letter or digit",
  model: "provider/model, e.g. anthropic/claude-opus-4-5",
  checkout:
    '"create" (we make the checkout) or "caller" (you make it, with the order\'s id as client_reference_id)',
  checkout_session: "the id of a session that you made, cs_test_… or cs_live_…",
};

const shape = z.strictObject({
  customer: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:@+|/=-]{0,199}$/),
  plan: z.string().min(1).max(63),
  region: z.string().min(1).max(63),
  agent_name: z.string().regex(/^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._-]{0,62}$/u),
  env: z
    .unknown()
    .default({})
    .transform((value, context) => {
      const result = readEnvironment(value);
      if ("env" in result) return result.env;
      for (const { name, detail, remedy } of result.problems) {
        const path = name === null ? [] : [name];
        context.addIssue({ code: "custom", path, message: detail, params: { remedy } });
      }
      return z.NEVER;
    }),
  model: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,63}\/[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/)
    .optional(),
  checkout: z.enum(["create", "caller"]).optional(),
  checkout_session: z
    .string()
    .regex(/^cs_(?:test|live)_[A-Za-z0-9]{1,200}$/)
    .optional(),
});

/** @throws OrderRequestError with every field that is wrong. */
export function readOrderRequest(
  body: unknown,
  offered: {
    readonly plans: readonly PlanConfig[];
    readonly regions: Regions;
    readonly pools: readonly Pick<PoolConfig, "plan" | "locations">[];
  },
): OrderRequest {
  const parsed = shape.safeParse(body);
  if (!parsed.success) throw new OrderRequestError("invalid", problemsOf(parsed.error));
  const { customer, region, agent_name, env, model, checkout, checkout_session } = parsed.data;
  const plan = offered.plans.find(({ name }) => name === parsed.data.plan);
  if (!plan) {
    throw notOffered(
      "plan",
      offered.plans.map(({ name }) => name),
    );
  }
  if (!Object.hasOwn(offered.regions, region)) throw notOffered("region", Object.keys(offered.regions));
  // Nobody would ever build it, though it was paid.
  const isServed = (name: string) =>
    offered.pools.some(
      (pool) =>
        pool.plan === plan.name &&
        offered.regions[name]?.some((location) => pool.locations.includes(location)),
    );
  if (!isServed(region)) {
    const detail = `plan ${plan.name} is not offered there`;
    const remedy = `one of: ${Object.keys(offered.regions).filter(isServed).join(", ")}`;
    throw new OrderRequestError("invalid", [{ field: "region", detail, remedy }]);
  }
  if (checkout !== undefined && checkout_session !== undefined) {
    const detail = "checkout and checkout_session exclude each other";
    throw new OrderRequestError("invalid", [{ field: "checkout", detail, remedy: "leave one of them out" }]);
  }
  return {
    customer,
    plan,
    region,
    agentName: agent_name,
    env,
    model: model ?? null,
    checkout:
      checkout_session !== undefined
        ? { by: "session", session: checkout_session }
        : { by: checkout === "caller" ? "caller" : "us" },
  };
}

function notOffered(field: string, allowed: readonly string[]): OrderRequestError {
  const detail = `there is no ${field} of this name`;
  return new OrderRequestError("invalid", [{ field, detail, remedy: `one of: ${allowed.join(", ")}` }]);
}

function problemsOf(error: z.ZodError): [FieldProblem, ...FieldProblem[]] {
  const problems = error.issues.flatMap((issue): FieldProblem[] => {
    if (issue.code === "unrecognized_keys") {
      const remedy = `known are: ${Object.keys(shape.shape).join(", ")}`;
      return issue.keys.map((key) => ({ field: printable(key), detail: "unknown field", remedy }));
    }
    const field = issue.path.join(".");
    const top = String(issue.path[0] ?? "");
    const remedy = issue.code === "custom" ? String(issue.params?.remedy) : wanted[top];
    const detail =
      issue.code === "invalid_format" ? "has characters or a length that are not allowed" : issue.message;
    return [{ field, detail, remedy: remedy ?? "an object with the documented fields" }];
  });
  const [first, ...rest] = problems;
  return first ? [first, ...rest] : [{ field: "", detail: error.message, remedy: "see the documentation" }];
}

/** A name that a caller made up, short and without anything that a terminal or log would act on. */
function printable(name: string): string {
  return name.slice(0, 64).replace(/[^A-Za-z0-9_.-]/g, "?");
}
