/** The verbs about machines. */
import {
  assertTransition,
  type Machine,
  type MachineSecrets,
  type MachineState,
} from "../machine/machine.ts";
import { changedFields } from "./audit.ts";
import { countServer } from "./bill.ts";
import type { StoreContext } from "./context.ts";
import { anyLimit } from "./known-lists.ts";
import { readQuarantine } from "./quarantine.ts";
import { type Cause, type MachineChange, StaleRowError, type Store } from "./store.ts";

type MachineVerbs = Pick<
  Store,
  | "planMachine"
  | "machine"
  | "machineByServerId"
  | "machines"
  | "buildTimes"
  | "machineSecrets"
  | "changeMachine"
>;

/** A row, as SQLite gives it: it has no booleans and no objects. */
interface MachineRow {
  enrolled: unknown;
  labelled: unknown;
  withheld: unknown;
  installed: unknown;
}

export const machineColumns: Readonly<Record<keyof Omit<Machine, "installed">, string>> = {
  name: "name",
  state: "state",
  pool: "pool",
  plan: "plan",
  serverType: "server_type",
  location: "location",
  image: "image",
  placementGroup: "placement_group",
  createdAt: "created_at",
  stateSince: "state_since",
  deadline: "deadline",
  attempts: "attempts",
  nextLookAt: "next_look_at",
  serverId: "server_id",
  ipv4: "ipv4",
  hostKey: "host_key",
  nextHostKey: "next_host_key",
  readyAt: "ready_at",
  provedAt: "proved_at",
  misses: "misses",
  buildEndedAt: "build_ended_at",
  failure: "failure",
  specimenUntil: "specimen_until",
  order: "order_id",
  endConfirmedBy: "end_confirmed_by",
  generation: "generation",
  tailnetNode: "tailnet_node",
  tailnetAddress: "tailnet_address",
  enrolled: "enrolled",
  labelled: "labelled",
  withheld: "withheld",
  held: "held",
  reason: "reason",
};

/**
 * Fields whose change the audit log tells. When a machine is looked at next is not a decision about it, and a row for
 * each look would be most of the log.
 */
const bookkeeping: readonly (keyof Machine)[] = [
  "nextLookAt",
  "deadline",
  "stateSince",
  "buildEndedAt",
  "provedAt",
];
export const toldOfMachines = ([...Object.keys(machineColumns), "installed"] as (keyof Machine)[]).filter(
  (field) => !bookkeeping.includes(field),
);

/** The rows under the machine's own names for its fields: rows are read far more often than written. */
const selectMachine = `SELECT ${Object.entries(machineColumns)
  .map(([field, column]) => `${column} AS "${field}"`)
  .join(", ")}, installed FROM machine`;

function machineFromRow(row: MachineRow): Machine {
  row.enrolled = row.enrolled === 1;
  row.labelled = row.labelled === 1;
  row.withheld = row.withheld === 1;
  row.installed = row.installed === null ? null : JSON.parse(String(row.installed));
  return row as unknown as Machine;
}

/** Where a machine's secrets belong; part of what is authenticated. */
export const machinePlace = (name: string) => `machine/${name}/secrets`;

/** Every live machine by name, the oldest first: read as a whole, once behind each change, because the loop asks for all. */
function liveMachines({ db, known }: StoreContext): ReadonlyMap<string, Machine> {
  const read = () =>
    db
      .prepare<[], MachineRow>(`${selectMachine} WHERE state <> 'destroyed' ORDER BY created_at, name`)
      .all()
      .map(machineFromRow);
  return known("machine", "live", () => new Map(read().map((machine) => [machine.name, machine])));
}

export function readMachine(context: StoreContext, name: string): Machine | null {
  const row = context.db.prepare<[string], MachineRow>(`${selectMachine} WHERE name = ?`).get(name);
  return row ? machineFromRow(row) : null;
}

/**
 * Applies a change to the row inside the caller's transaction: asserts the transition, writes the audit row
 * (`machine.<state>`; `machine.changed` when the state stays).
 *
 * @throws StaleRowError when the machine is no longer in `from`.
 */
export function writeMachineChange(
  context: StoreContext,
  name: string,
  from: MachineState,
  change: MachineChange & {
    readonly order?: string;
    readonly endConfirmedBy?: string;
    readonly held?: string | null;
  },
  why: string,
  { actor = "daemon", run = null }: Cause = {},
): Machine {
  const before = readMachine(context, name);
  if (!before || before.state !== from) {
    throw new StaleRowError(`machine ${name} is ${before?.state ?? "unknown"}, no longer ${from}`);
  }
  const { installed, poolToken, ...plain } = change;
  const set: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(plain)) {
    // SQLite has no booleans.
    const stored = typeof value === "boolean" ? Number(value) : value;
    if (value !== undefined) set[machineColumns[field as keyof typeof machineColumns]] = stored;
  }
  if (installed) set.installed = JSON.stringify(installed);
  if (poolToken) {
    const secrets = { ...openSecrets(context, name), poolToken };
    set.secrets = context.sealer.seal(JSON.stringify(secrets), machinePlace(name));
  }
  const moved = change.state !== undefined && change.state !== from;
  if (moved && before.held !== null && change.held !== null) {
    throw new StaleRowError(`machine ${name} is held: ${before.held}`);
  }
  if (change.state !== undefined && moved) {
    assertTransition(name, from, change.state);
    set.state_since = context.clock.now();
    const ends = change.state === "ready" || change.state === "failed";
    if (ends && before.buildEndedAt === null) set.build_ended_at = context.clock.now();
    if (change.state === "ready" && before.readyAt === null) set.ready_at = context.clock.now();
    if (change.attempts === undefined) set.attempts = 0;
    if (change.nextLookAt === undefined) set.next_look_at = 0;
  }
  const names = Object.keys(set);
  if (names.length > 0) {
    context.db
      .prepare(
        `UPDATE machine SET ${names.map((column) => `${column} = @${column}`).join(", ")} WHERE name = @name`,
      )
      .run({ ...set, name });
  }
  const after = readMachine(context, name) as Machine;
  countServer(context, before, after);
  const changed = changedFields(before, after, toldOfMachines);
  if (changed || poolToken) {
    const action = moved ? `machine.${change.state}` : "machine.changed";
    const facts = {
      why,
      run,
      ...changed,
      order: after.order,
      ...(poolToken ? { replaced: "poolToken" } : {}),
    };
    context.history.audit(actor, action, name, facts);
  }
  context.touched(after);
  return after;
}

export function openSecrets(context: StoreContext, name: string): MachineSecrets {
  const row = context.db
    .prepare<[string], { secrets: string }>("SELECT secrets FROM machine WHERE name = ?")
    .get(name);
  if (!row) throw new StaleRowError(`machine ${name} is unknown`);
  return JSON.parse(context.sealer.open(row.secrets, machinePlace(name)));
}

export function machineVerbs(context: StoreContext): MachineVerbs {
  const { db, clock } = context;
  const liveCount = (where: string, ...parameters: string[]): number =>
    (
      db
        .prepare<string[], { n: number }>(
          `SELECT count(*) AS n FROM machine WHERE state <> 'destroyed' ${where}`,
        )
        .get(...parameters) ?? { n: 0 }
    ).n;

  return {
    planMachine: (machine, caps, why = "the pool wants another machine") =>
      context.write(() => {
        if (readQuarantine(context)) return null;
        if (liveCount("AND pool = ?", machine.pool) >= caps.maxTotal || liveCount("") >= caps.maxTotalAll)
          return null;
        db.prepare(
          `INSERT INTO machine (name, state, pool, plan, server_type, location, image, placement_group, created_at,
                                state_since, deadline, host_key, secrets)
           VALUES (?, 'planned', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ).run(
          machine.name,
          machine.pool,
          machine.plan,
          machine.serverType,
          machine.location,
          machine.image,
          machine.placementGroup,
          clock.now(),
          clock.now(),
          machine.deadline,
          machine.hostKey,
          context.sealer.seal(JSON.stringify(machine.secrets), machinePlace(machine.name)),
        );
        const { pool, plan, location, serverType, image } = machine;
        const after = { state: "planned", pool, plan, location, serverType, image };
        context.history.audit("daemon", "machine.planned", machine.name, { why, after });
        const planned = readMachine(context, machine.name) as Machine;
        context.touched(planned);
        return planned;
      }),

    machine: (name) => liveMachines(context).get(name) ?? readMachine(context, name),

    machineByServerId(serverId) {
      for (const machine of liveMachines(context).values()) if (machine.serverId === serverId) return machine;
      const row = db.prepare<[number], MachineRow>(`${selectMachine} WHERE server_id = ?`).get(serverId);
      return row ? machineFromRow(row) : null;
    },

    machines({ live: wanted = false, pool = null, states = null } = {}) {
      if (wanted || states?.includes("destroyed") === false) {
        const fits = (machine: Machine) =>
          (pool === null || machine.pool === pool) && (states === null || states.includes(machine.state));
        return [...liveMachines(context).values()].filter(fits);
      }
      const where = [
        ...(pool === null ? [] : ["pool = ?"]),
        ...(states ? [`state IN (${states.map(() => "?").join(", ")})`] : []),
      ];
      return db
        .prepare<string[], MachineRow>(
          `${selectMachine} ${where.length > 0 ? `WHERE ${where.join(" AND ")}` : ""} ORDER BY created_at, name`,
        )
        .all(...(pool === null ? [] : [pool]), ...(states ?? []))
        .map(machineFromRow);
    },

    buildTimes: (of, limit) =>
      db
        .prepare<[string, number], { ms: number }>(
          `SELECT ready_at - created_at AS ms FROM machine WHERE ${of.plan === undefined ? "pool" : "plan"} = ?
           AND ready_at IS NOT NULL ORDER BY created_at DESC, name DESC ${anyLimit}`,
        )
        .all(of.plan ?? of.pool, limit)
        .map(({ ms }) => ms),

    machineSecrets: (name) => openSecrets(context, name),

    changeMachine: (name, from, change, why, cause) =>
      context.write(() => writeMachineChange(context, name, from, change, why, cause)),
  };
}
