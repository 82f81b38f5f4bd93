/**
 * What a terraform run may do on the wire. A plan can be wrong, a person can be hasty and a state file can be
 * stale; this table is asked about every single request, against the machine's row as it is at that moment.
 *
 *   machine permit                        needs
 *   any GET                               nothing
 *   POST /servers                         create; the permit's name; a row in planned|creating without a server id
 *   PUT /servers/{id}                     update; own server; the name stays
 *   POST /servers/{id}/actions/<calm>     create or update; own server
 *   POST /servers/{id}/actions/<rough>    update; own server; no live order            (switches off, cuts off)
 *   … of these shutdown, poweroff         update as above; or power; own server; a row in suspending
 *   … poweron                             create, update or power; own server
 *   POST /servers/{id}/actions/rebuild    destroy; own server; the row's mayDestroy    (loses the disk)
 *   DELETE /servers/{id}                  destroy; own server; the row's mayDestroy
 *   everything else                       refused
 *
 *   platform permit: ssh_keys, firewalls, networks, placement_groups; deleting and detaching need destroy; never servers
 *
 *   people's permit: for each request one of these two, `judge` says which
 */
import type { GateLedger, RunPermit } from "../cloud.ts";
import type { GateRequest, PlatformCollection } from "./request.ts";

export type Row = ReturnType<GateLedger["machine"]>;

export type Decision =
  | { readonly allowed: true }
  | {
      readonly allowed: false;
      readonly status: 403 | 423;
      readonly code: "forbidden" | "protected";
      readonly reason: string;
    };

/** A permit that the table above is about. */
export type JudgedPermit = Exclude<RunPermit, { kind: "people" }>;

const allow: Decision = { allowed: true };
const forbid = (reason: string): Decision => ({ allowed: false, status: 403, code: "forbidden", reason });
/** 423 `protected` is what Hetzner itself answers for a server with delete protection. */
const protect = (reason: string): Decision => ({ allowed: false, status: 423, code: "protected", reason });

/** Server actions by what they do to whoever uses the machine; an action that is not here is refused. */
const serverActions: Readonly<Record<string, "calm" | "rough" | "destroys">> = {
  attach_to_network: "calm",
  change_alias_ips: "calm",
  change_dns_ptr: "calm",
  enable_backup: "calm",
  poweron: "calm",
  poweroff: "rough",
  reboot: "rough",
  reset: "rough",
  shutdown: "rough",
  change_type: "rough",
  detach_from_network: "rough",
  add_to_placement_group: "rough",
  remove_from_placement_group: "rough",
  rebuild: "destroys",
};

/** Actions of platform resources; the destroying ones take something away from machines that use it. */
const platformActions: Readonly<Record<PlatformCollection, Readonly<Record<string, "calm" | "destroys">>>> = {
  firewalls: { set_rules: "calm", remove_from_resources: "destroys" },
  networks: { add_subnet: "calm", add_route: "calm", delete_subnet: "destroys", delete_route: "destroys" },
  ssh_keys: {},
  placement_groups: {},
};

/**
 * The permit that one request is judged by. Only a person's command has more than one: the machine's that the server
 * belongs to, or the platform's. Pure.
 *
 * @param ownerOf the machine whose row has this server id
 * @returns null when the request is about nothing that the command named
 */
export function judge(
  permit: RunPermit,
  request: GateRequest,
  ownerOf: (serverId: number) => string | null,
): JudgedPermit | null {
  if (permit.kind !== "people") return permit;
  const { actor, update, destroy, priority } = permit;
  const platform = { kind: "platform", actor, destroy, priority } as const;
  switch (request.kind) {
    case "actions":
    case "read-server":
    case "read":
    case "unknown":
      // The same for every permit; as the platform's, what is read is the truth of now.
      return platform;
    case "platform-create":
    case "platform-update":
    case "platform-delete":
    case "platform-action":
      return permit.platform && update ? platform : null;
    case "create-server":
    case "update-server":
    case "delete-server":
    case "server-action": {
      const machine = request.kind === "create-server" ? request.order?.name : ownerOf(request.id);
      if (!machine || !permit.machines.includes(machine)) return null;
      return { kind: "machine", machine, actor, create: false, update, destroy, priority };
    }
  }
}

/** What is answered when `judge` finds no permit. */
export const unnamed: Decision = forbid("the command may not change this");

/**
 * Decides about one request. Pure.
 *
 * @param row the ledger's row of the permit's machine, read now; ignored for a platform permit
 */
export function decide(permit: JudgedPermit, request: GateRequest, row: Row): Decision {
  switch (request.kind) {
    case "actions":
    case "read-server":
    case "read":
      return allow;
    case "unknown":
      return forbid("no run may make this call");
    default:
      return permit.kind === "machine"
        ? decideMachine(permit, request, row)
        : decidePlatform(permit, request);
  }
}

type Write = Exclude<GateRequest, { kind: "actions" | "read-server" | "read" | "unknown" }>;

function decideMachine(
  permit: Extract<JudgedPermit, { kind: "machine" }>,
  request: Write,
  row: Row,
): Decision {
  const { machine } = permit;
  switch (request.kind) {
    case "create-server":
      if (!permit.create) return forbid("this run may not create a server");
      if (request.order?.name !== machine) return forbid(`this run may create ${machine} only`);
      if (!row) return forbid(`no intent row has the name ${machine}`);
      if (row.serverId !== null) return forbid(`${machine} already is server ${row.serverId}`);
      if (row.mayDestroy || (row.state !== "planned" && row.state !== "creating")) {
        return forbid(`${machine} is ${row.state}, not being created`);
      }
      return allow;
    case "update-server": {
      const foreign = notOwn(machine, request.id, row);
      if (foreign) return foreign;
      if (!permit.update) return forbid("this run may not change the server");
      // The name is the idempotency key of `POST /servers` and how a lost server is found again.
      if (request.name !== null && request.name !== machine) return forbid(`${machine} keeps its name`);
      return allow;
    }
    case "delete-server": {
      const foreign = notOwn(machine, request.id, row);
      return foreign ?? mayDestroy(permit.destroy, machine, row);
    }
    case "server-action": {
      const foreign = notOwn(machine, request.id, row);
      if (foreign) return foreign;
      const effect = Object.hasOwn(serverActions, request.action) ? serverActions[request.action] : undefined;
      switch (effect) {
        case "calm":
          if (permit.power && request.action === "poweron") return allow;
          return permit.create || permit.update ? allow : forbid("this run may not change the server");
        case "rough":
          if (permit.power && (request.action === "shutdown" || request.action === "poweroff")) {
            const switched = row?.state === "suspending";
            return switched ? allow : protect(`${machine} is ${row?.state}, not being suspended`);
          }
          if (row?.order && !row.mayDestroy) return protect("the order of this machine is live");
          return permit.update ? allow : forbid("this run may not change the server");
        case "destroys":
          return mayDestroy(permit.destroy, machine, row);
        case undefined:
          return forbid(`no run may make the action ${request.action}`);
      }
      return effect satisfies never;
    }
    case "platform-create":
    case "platform-update":
    case "platform-delete":
    case "platform-action":
      return forbid("a machine's run may not change the platform");
  }
}

/** Null when the id is that of the permit's own machine. */
function notOwn(machine: string, id: number, row: Row): Decision | null {
  return row && row.serverId === id ? null : forbid(`server ${id} is not ${machine}`);
}

/** The row's key first: a live order is refused as such even to a run that could not destroy anyway. */
function mayDestroy(permitted: boolean, machine: string, row: Row): Decision {
  if (!row?.mayDestroy) {
    return protect(
      row?.order
        ? "the order of this machine is live"
        : `${machine} is ${row?.state ?? "unknown"}, not being destroyed`,
    );
  }
  return permitted ? allow : forbid("this run may not destroy");
}

function decidePlatform(permit: Extract<JudgedPermit, { kind: "platform" }>, request: Write): Decision {
  switch (request.kind) {
    case "create-server":
    case "update-server":
    case "delete-server":
    case "server-action":
      return forbid("the platform's run may not touch servers");
    case "platform-create":
    case "platform-update":
      return allow;
    case "platform-delete":
      return permit.destroy ? allow : forbid("this run may not destroy");
    case "platform-action": {
      const known = platformActions[request.collection];
      const effect = Object.hasOwn(known, request.action) ? known[request.action] : undefined;
      if (effect === undefined) return forbid(`no run may make the action ${request.action}`);
      return effect === "calm" || permit.destroy ? allow : forbid("this run may not destroy");
    }
  }
}
