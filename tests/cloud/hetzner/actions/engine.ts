import type { Clock } from "../../../../pool/clock.ts";
import { UnsupportedByMachines } from "../../machines/backend.ts";
import { type Command, drawDuration, type Timing } from "../catalogue/durations.ts";
import type { Context } from "../context.ts";
import { traitsOfServer } from "../faults/subject.ts";
import type { ActionEffect, Faults } from "../faults.ts";
import { ApiError } from "../http/errors.ts";
import type { Store } from "../store/store.ts";

export interface ActionResource {
  readonly type: string;
  readonly id: number;
}

export interface Action {
  readonly id: number;
  readonly project: number;
  readonly command: Command;
  readonly status: "running" | "success" | "error";
  /** Milliseconds on the emulator's clock. */
  readonly duration: number;
  readonly started: number;
  readonly began: number | null;
  readonly finished: number | null;
  readonly after: number | null;
  readonly resources: readonly ActionResource[];
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/**
 * What an action does when its time has come. It may run again after a restart in the middle, so it must be
 * repeatable. What it throws ends the action with `error`.
 */
export type Effect = (context: Context, action: Action) => void | Promise<void>;
export type Effects = Partial<Record<Command, Effect>>;

interface Row extends Omit<Action, "resources" | "error" | "parameters"> {
  readonly resources: string;
  readonly error: string | null;
  readonly parameters: string;
}

const columns = `id, project, command, status, duration, started, began, finished, after, error, parameters,
  (SELECT json_group_array(json_object('id', resource, 'type', type))
     FROM action_resource WHERE action = action.id) AS resources`;

interface ActionFault {
  readonly id: number;
  readonly effect: ActionEffect;
}

/** What an action ends with when a fault has ordered it. */
class OrderedFailure extends Error {
  readonly code: string;

  constructor({ code, message }: { readonly code: string; readonly message: string }) {
    super(message);
    this.code = code;
  }
}

/** Runs asynchronous actions on the clock and keeps every one of them readable for ever, over restarts too. */
export class ActionEngine {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #effects: Effects;
  readonly #speed: number;
  readonly #seed: number;
  readonly #faults: Faults;
  readonly #running = new Map<number, Promise<void>>();
  readonly #stop = new AbortController();
  #context: Context | null = null;

  constructor(
    store: Store,
    clock: Clock,
    options: { effects: Effects /** Divides every duration. */; speed: number; seed: number; faults: Faults },
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#effects = options.effects;
    this.#speed = options.speed;
    this.#seed = options.seed;
    this.#faults = options.faults;
  }

  /** Hands over the context for the effects and goes on with what a restart interrupted. */
  resume(context: Context): void {
    this.#context = context;
    const rows = this.#store
      .prepare(`SELECT ${columns} FROM action WHERE status = 'running' ORDER BY id`)
      .all() as Row[];
    for (const row of rows) this.#launch(revive(row));
  }

  /** Call inside the transaction that changes the resources; the clock starts when the transaction is over. */
  start(
    project: number,
    command: Command,
    resources: readonly ActionResource[],
    options: {
      /** Other changes of these resources are refused with 423 meanwhile. Default true. */
      readonly locks?: boolean;
      /** Waits for this action and fails with it. */
      readonly after?: number;
      readonly parameters?: Readonly<Record<string, unknown>>;
      /** There is nothing to do: a success at once, without its effect. */
      readonly done?: boolean;
      /** What its duration is known for, when that is not the command alone. */
      readonly timing?: Timing;
    } = {},
  ): Action {
    const duration = this.#duration(command, options.timing ?? command);
    const id = this.#store.nextId();
    const { locks = true, after = null, parameters = {} } = options;
    this.#store
      .prepare(
        `INSERT INTO action (id, project, command, status, duration, started, after, locks, parameters)
         VALUES (?, ?, ?, 'running', ?, ?, ?, ?, ?)`,
      )
      .run(
        id,
        project,
        command,
        duration,
        this.#clock.now(),
        after,
        locks ? 1 : 0,
        JSON.stringify(parameters),
      );
    for (const resource of resources) {
      this.#store
        .prepare("INSERT INTO action_resource (action, type, resource) VALUES (?, ?, ?)")
        .run(id, resource.type, resource.id);
    }
    const action = this.#read(id);
    if (options.done) {
      this.#finish(action, null);
      return this.#read(id);
    }
    // A microtask later the surrounding (synchronous) transaction is committed or gone.
    queueMicrotask(() => {
      if (this.find(project, id)) this.#launch(action, this.#faultOf(action));
    });
    return action;
  }

  find(project: number, id: number): Action | null {
    const row = this.#store
      .prepare(`SELECT ${columns} FROM action WHERE id = ? AND project = ?`)
      .get(id, project) as Row | undefined;
    return row ? revive(row) : null;
  }

  /** In the order of ids; of one resource, of one type of resource, or all. */
  list(project: number, of: { readonly type?: string; readonly id?: number } = {}): Action[] {
    const rows = this.#store
      .prepare(
        `SELECT ${columns} FROM action WHERE project = :project AND (:type IS NULL OR EXISTS (
           SELECT 1 FROM action_resource r
           WHERE r.action = action.id AND r.type = :type AND (:id IS NULL OR r.resource = :id))) ORDER BY id`,
      )
      .all({ project, type: of.type ?? null, id: of.id ?? null }) as Row[];
    return rows.map(revive);
  }

  /** True while an action runs that lets nobody else change the resource. */
  isLocked(type: string, id: number): boolean {
    return this.#isRunning({ type, id, locks: 1 });
  }

  /** True while `command` runs on both resources. */
  isRunning(command: Command, on: ActionResource, and: ActionResource): boolean {
    return this.#isRunning({ ...on, command, otherType: and.type, otherId: and.id });
  }

  /** Percent. */
  progress(action: Action): number {
    if (action.status !== "running") return 100;
    if (action.began === null) return 0;
    return Math.min(99, Math.floor((100 * (this.#clock.now() - action.began)) / action.duration));
  }

  /** Lets effects that have begun end; what still waits for its time goes on at the next start. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#running.values());
  }

  #isRunning(
    wanted: ActionResource & { locks?: 1; command?: Command; otherType?: string; otherId?: number },
  ) {
    return (
      this.#store
        .prepare(
          `SELECT 1 FROM action a JOIN action_resource r ON r.action = a.id
           WHERE a.status = 'running' AND r.type = :type AND r.resource = :id
             AND (:locks IS NULL OR a.locks = :locks) AND (:command IS NULL OR a.command = :command)
             AND (:otherId IS NULL OR EXISTS (
               SELECT 1 FROM action_resource o
               WHERE o.action = a.id AND o.type = :otherType AND o.resource = :otherId)) LIMIT 1`,
        )
        .get({ locks: null, command: null, otherType: null, otherId: null, ...wanted }) !== undefined
    );
  }

  /** Whole milliseconds. Counted by command, so that what else happens does not change it. */
  #duration(command: Command, timing: Timing): number {
    const { nth } = this.#store
      .prepare("SELECT count(*) AS nth FROM action WHERE command = ?")
      .get(command) as { nth: number };
    return Math.ceil(drawDuration(timing, this.#seed, nth) / this.#speed);
  }

  #faultOf({ project, command, resources }: Action): ActionFault | null {
    const id = resources.find((resource) => resource.type === "server")?.id;
    const server = id === undefined ? null : traitsOfServer(this.#store, project, id);
    return this.#faults.onAction({ project, command, server });
  }

  #launch(action: Action, fault: ActionFault | null = null): void {
    if (this.#stop.signal.aborted) return;
    const done = this.#run(action, fault).finally(() => this.#running.delete(action.id));
    this.#running.set(action.id, done);
  }

  async #run(action: Action, fault: ActionFault | null): Promise<void> {
    const context = this.#context;
    if (!context) throw new Error("an action was started before resume()");
    if (action.after !== null) {
      await this.#running.get(action.after);
      const predecessor = this.#read(action.after);
      if (predecessor.status === "running") return;
      if (predecessor.status === "error") return this.#finish(action, predecessor.error);
    }
    const began = action.began ?? this.#clock.now();
    this.#store.prepare("UPDATE action SET began = ? WHERE id = ?").run(began, action.id);
    await this.#clock.delay(Math.max(0, began + action.duration - this.#clock.now()), this.#stop.signal);
    if (fault?.effect.kind === "action_hangs") await this.#faults.lifted(fault.id, this.#stop.signal);
    if (this.#stop.signal.aborted) return;
    try {
      const failure = fault?.effect.kind === "action_fails" ? fault.effect : null;
      if (failure?.when === "before") {
        settleServers(context, action);
        throw new OrderedFailure(failure.error);
      }
      await this.#effects[action.command]?.(context, action);
      if (failure) throw new OrderedFailure(failure.error);
      this.#finish(action, null);
    } catch (error) {
      this.#finish(action, {
        code: codeOf(error),
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }

  #finish(action: Action, error: Action["error"]): void {
    this.#store
      .prepare("UPDATE action SET status = ?, error = ?, finished = ? WHERE id = ?")
      .run(error ? "error" : "success", error && JSON.stringify(error), this.#clock.now(), action.id);
  }

  #read(id: number): Action {
    return revive(this.#store.prepare(`SELECT ${columns} FROM action WHERE id = ?`).get(id) as Row);
  }
}

function codeOf(error: unknown): string {
  if (error instanceof OrderedFailure || error instanceof ApiError) return error.code;
  return error instanceof UnsupportedByMachines ? "unsupported_error" : "action_failed";
}

/** A server whose action came to nothing is what its machine is: on or off. */
function settleServers({ store, backend }: Context, action: Action): void {
  for (const { type, id } of action.resources) {
    const server = type === "server" ? store.get("server", action.project, id) : null;
    if (server) store.update("server", server, { status: backend.isOn(id) ? "running" : "off" });
  }
}

function revive(row: Row): Action {
  return {
    ...row,
    resources: JSON.parse(row.resources) as ActionResource[],
    error: row.error === null ? null : (JSON.parse(row.error) as Action["error"]),
    parameters: JSON.parse(row.parameters) as Record<string, unknown>,
  };
}
