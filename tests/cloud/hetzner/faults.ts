import { z } from "zod";

const when = z.enum(["before", "after"]).default("before");

/**
 * `before`: the request changes nothing. `after`: it is carried out and only its answer is lost or replaced.
 * `answer` without `error` is a bare status with no JSON body.
 */
const effectSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("answer"),
    when,
    status: z.int().min(400).max(599),
    error: z.object({ code: z.string(), message: z.string(), details: z.unknown().default(null) }).optional(),
    headers: z.record(z.string(), z.string()).optional(),
  }),
  z.object({ kind: z.literal("drop"), when }),
  /** Milliseconds on the emulator's clock; then the next fault or the request itself. */
  z.object({ kind: z.literal("delay"), ms: z.number().min(0) }),
]);

export const faultSchema = z.object({
  method: z.enum(["GET", "POST", "PUT", "DELETE"]).optional(),
  /** Below /v1, without query; `*` is one segment: `/servers`, `/servers/*`, `/servers/*\/actions/poweron`. */
  path: z.string().startsWith("/"),
  /** How many requests it hits; then it is spent. */
  times: z.int().positive().default(1),
  /** How many matching requests it lets through first. */
  skip: z.int().min(0).default(0),
  effect: effectSchema,
});

export type FaultInput = z.input<typeof faultSchema>;
export type FaultEffect = z.output<typeof effectSchema>;
export type TerminalEffect = Exclude<FaultEffect, { kind: "delay" }>;
export interface Fault extends z.output<typeof faultSchema> {
  readonly id: number;
  /** Requests hit so far. */
  readonly hits: number;
}

/** Faults that were ordered, in their order. They live in memory: a restart forgets them. */
export class Faults {
  readonly #faults = new Map<number, Fault>();
  #nextId = 1;

  /** @returns the id, for `remove`. @throws ZodError */
  add(input: FaultInput): number {
    const id = this.#nextId++;
    this.#faults.set(id, { ...faultSchema.parse(input), id, hits: 0 });
    return id;
  }

  /** Spent ones included, so that a test can see what was hit. */
  list(): readonly Fault[] {
    return [...this.#faults.values()];
  }

  remove(id: number): boolean {
    return this.#faults.delete(id);
  }

  clear(): void {
    this.#faults.clear();
  }

  /** What befalls this request: delays add up, the first other effect ends it. */
  take(method: string, path: string): { delayMs: number; effect: TerminalEffect | null; id: number | null } {
    let delayMs = 0;
    for (const fault of this.#faults.values()) {
      if (fault.hits >= fault.times || !matches(fault, method, path)) continue;
      if (fault.skip > 0) {
        this.#faults.set(fault.id, { ...fault, skip: fault.skip - 1 });
        continue;
      }
      this.#faults.set(fault.id, { ...fault, hits: fault.hits + 1 });
      if (fault.effect.kind !== "delay") return { delayMs, effect: fault.effect, id: fault.id };
      delayMs += fault.effect.ms;
    }
    return { delayMs, effect: null, id: null };
  }
}

function matches(fault: Fault, method: string, path: string): boolean {
  if (fault.method !== undefined && fault.method !== method) return false;
  const wanted = fault.path.split("/");
  const given = path.split("/");
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => segment === "*" || segment === given[index])
  );
}
