/**
 * Disturbances that a test or a person orders: at the API, at the control server that nodes talk to, at the relay.
 * One list for all three, so that one interface orders, shows and takes them back.
 */
import { EventEmitter, once } from "node:events";
import type { Context } from "koa";
import { z } from "zod";
import type { Control } from "./control.ts";

const when = z.enum(["before", "after"]).default("before");

/** `before`: the request changes nothing. `after`: it is carried out and only its answer is lost or replaced. */
const effectSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("answer"),
    when,
    status: z.int().min(200).max(599),
    /** Of Tailscale's error shape. */
    message: z.string().default("injected"),
    /** Instead of the error shape: any JSON, or a text as it is. */
    body: z.unknown().optional(),
    headers: z.record(z.string(), z.string()).default({}),
  }),
  z.object({ kind: z.literal("drop"), when }),
  /** Milliseconds, or until the fault is removed; then the next fault or the request itself. */
  z.object({ kind: z.literal("delay"), ms: z.number().min(0) }),
  /** As long as the fault stands, connections are cut and new ones reset. */
  z.object({ kind: z.literal("down") }),
  /** The host name of a machine that joins counts as taken: it gets `-1` or the next free number. */
  z.object({ kind: z.literal("taken") }),
]);

const kindsOf = {
  api: ["answer", "drop", "delay"],
  control: ["answer", "drop", "delay", "down", "taken"],
  relay: ["down"],
} as const;

const faultSchema = z
  .object({
    /** `api`: the API v2; `control`: what nodes ask the control server; `relay`: DERP. */
    target: z.enum(["api", "control", "relay"]).default("api"),
    method: z.enum(["GET", "POST", "PUT", "PATCH", "DELETE"]).optional(),
    /**
     * At the API below /api/v2, without query; `*` is one segment: `/device/*`, `/tailnet/*\/keys`. At the control
     * server `/key`, `/machine/register` or `/machine/map`. Default: any.
     */
    path: z.string().startsWith("/").optional(),
    /** How many requests it hits; then it is spent. `down` has no number. */
    times: z.int().positive().default(1),
    /** How many matching requests it lets through first. */
    skip: z.int().min(0).default(0),
    effect: effectSchema,
  })
  .refine(({ target, effect }) => (kindsOf[target] as readonly string[]).includes(effect.kind), {
    message: "this target cannot be disturbed that way",
    path: ["effect", "kind"],
  });

export type FaultInput = z.input<typeof faultSchema>;
type Effect = z.output<typeof effectSchema>;
type TerminalEffect = Extract<Effect, { kind: "answer" | "drop" }>;
export interface Fault extends z.output<typeof faultSchema> {
  readonly id: number;
  /** Requests hit so far; with `down` connections. */
  readonly hits: number;
}

/** What a request meets: delays to be waited for in turn, then at most one other effect. */
interface Taken {
  readonly delays: readonly { readonly ms: number; readonly removed: AbortSignal }[];
  readonly effect: TerminalEffect | null;
  /** Of the last fault that hit it. */
  readonly id: number | null;
}

interface Entry {
  fault: Fault;
  readonly removed: AbortController;
}

export class Faults {
  readonly #control: Control;
  readonly #entries = new Map<number, Entry>();
  readonly #events = new EventEmitter().setMaxListeners(0);
  #nextId = 1;

  /** `control`: applies those that are for it and for the relay, when it is a real one. */
  constructor(control: Control) {
    this.#control = control;
  }

  /** @returns the id, for `remove`. @throws ZodError; RangeError for the relay of a simulated tailnet, which has none */
  async add(input: FaultInput): Promise<number> {
    const order = faultSchema.parse(input);
    if (order.target === "relay" && !this.#control.faults) throw new RangeError("there is no relay");
    const fault = { ...order, id: this.#nextId++, hits: 0 };
    this.#entries.set(fault.id, { fault, removed: new AbortController() });
    if (fault.target !== "api") await this.#control.faults?.add(fault);
    return fault.id;
  }

  /** In their order, spent ones included, so that a test can see what was hit. */
  async list(): Promise<readonly Fault[]> {
    const hits = await this.#control.faults?.hits();
    return [...this.#entries.values()].map(({ fault }) => ({
      ...fault,
      hits: hits?.get(fault.id) ?? fault.hits,
    }));
  }

  async remove(id: number): Promise<boolean> {
    const entry = this.#entries.get(id);
    if (!entry) return false;
    this.#entries.delete(id);
    entry.removed.abort();
    if (entry.fault.target !== "api") await this.#control.faults?.remove(id);
    this.#events.emit("changed");
    return true;
  }

  async clear(): Promise<void> {
    for (const id of [...this.#entries.keys()]) await this.remove(id);
  }

  /** Resolves when the fault has hit that often. @throws when it was removed before */
  async waitForHits(id: number, hits = 1, signal?: AbortSignal): Promise<void> {
    for (let version: number | undefined; ; ) {
      const stop = new AbortController();
      const either = signal ? AbortSignal.any([stop.signal, signal]) : stop.signal;
      const changed = once(this.#events, "changed", { signal: either });
      changed.catch(() => {});
      try {
        const fault = (await this.list()).find((candidate) => candidate.id === id);
        if (!fault) throw new Error(`no fault ${id}`);
        if (fault.hits >= hits) return;
        if (fault.target === "api" || !this.#control.faults) await changed;
        // The real control server's list of devices has a new version with every hit.
        else ({ version } = await this.#control.devices(version, signal));
      } finally {
        stop.abort();
      }
    }
  }

  /** What befalls this request. */
  take(target: "api" | "control", method: string, path: string): Taken {
    const delays: { ms: number; removed: AbortSignal }[] = [];
    let last: number | null = null;
    for (const entry of this.#matching(target, method, path)) {
      const { effect, id } = entry.fault;
      if (effect.kind !== "answer" && effect.kind !== "drop" && effect.kind !== "delay") continue;
      if (!this.#spend(entry)) continue;
      last = id;
      if (effect.kind !== "delay") return { delays, effect, id };
      delays.push({ ms: effect.ms, removed: entry.removed.signal });
    }
    return { delays, effect: null, id: last };
  }

  /** For a simulated tailnet: whether the host name that is being joined under counts as taken. */
  takeName(): boolean {
    for (const entry of this.#matching("control", "POST", "/machine/register")) {
      if (entry.fault.effect.kind === "taken" && this.#spend(entry)) return true;
    }
    return false;
  }

  /** For a simulated tailnet: whether the control server is down; counts the connection that it cuts. */
  isDown(): boolean {
    const entry = [...this.#entries.values()].find(
      ({ fault }) => fault.target === "control" && fault.effect.kind === "down",
    );
    if (entry) this.#hit(entry);
    return entry !== undefined;
  }

  #matching(target: string, method: string, path: string): Entry[] {
    return [...this.#entries.values()].filter(
      ({ fault }) => fault.target === target && fault.hits < fault.times && matches(fault, method, path),
    );
  }

  #spend(entry: Entry): boolean {
    const { fault } = entry;
    if (fault.skip > 0) {
      entry.fault = { ...fault, skip: fault.skip - 1 };
      return false;
    }
    this.#hit(entry);
    return true;
  }

  #hit(entry: Entry): void {
    entry.fault = { ...entry.fault, hits: entry.fault.hits + 1 };
    this.#events.emit("changed");
  }
}

/** Puts a fault in the place of the answer. */
export function disturb(ctx: Context, effect: TerminalEffect): void {
  if (effect.kind === "drop") {
    ctx.respond = false;
    ctx.req.socket.destroy();
    return;
  }
  ctx.status = effect.status;
  ctx.set(effect.headers);
  ctx.body = effect.body ?? { message: effect.message };
}

function matches(fault: Fault, method: string, path: string): boolean {
  if (fault.method !== undefined && fault.method !== method) return false;
  if (fault.path === undefined) return true;
  const wanted = fault.path.split("/");
  const given = path.split("/");
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => segment === "*" || segment === given[index])
  );
}
