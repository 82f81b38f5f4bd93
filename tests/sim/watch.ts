/**
 * What must hold at each step, looked at after each transaction over what it changed: the audit rows that it wrote name
 * every machine and order that moved. The end is judged over everything (tests/invariants.ts).
 */
import {
  customersStates,
  isLive,
  type Machine,
  type MachineName,
  type MachineState,
  type OrderId,
} from "../../pool/machine/machine.ts";
import { auditRow } from "../../pool/store/audit.ts";
import { ChainCheck, type StoredAuditRow } from "../../pool/store/audit-chain.ts";
import type { AuditRow, Store } from "../../pool/store/store.ts";
import { ourServers } from "./leftovers.ts";
import type { SimServer, SimSession, World } from "./world.ts";

/** For so long a deadline may have passed before somebody looks: a daemon starts again within a minute. */
const lateMs = 5 * 60_000;
/** A machine in one of these is nobody's any more. */
const gone: readonly MachineState[] = ["failed", "retiring", "releasing", "destroyed"];

export class Watch {
  readonly #world: World;
  readonly #store: Store;
  readonly #chain = new ChainCheck();
  /** State of each machine and order, as the audit log tells it. */
  readonly #states = new Map<string, unknown>();
  /** The order that each machine was bound to first. */
  readonly #bound = new Map<string, OrderId>();
  /** Machines of which it was said that they are late. */
  readonly #late = new Set<string>();

  constructor(world: World, store: Store) {
    this.#world = world;
    this.#store = store;
    world.isComparing = () => store.setting("sweep/since") !== null;
    world.isRemembered = (name) => {
      const row = store.machine(name as MachineName);
      return isLive(row) && row.serverId === null;
    };
    world.onMade = (server) => this.#made(server);
    world.onDelete = (server) => this.#deleted(server);
  }

  /** Rows of before it watched, as a restored store has them. */
  follow(rows: readonly StoredAuditRow[]): void {
    for (const stored of rows) {
      this.#chain.next(stored, null);
      const { subject, after } = auditRow(stored);
      if (after?.state !== undefined) this.#states.set(subject, after.state);
    }
  }

  /** Audit rows that a transaction has just written. */
  wrote(rows: readonly StoredAuditRow[]): void {
    for (const stored of rows) {
      const finding = this.#chain.next(stored, null);
      if (finding) this.#world.violate("I10", finding.text);
      this.told(
        `audit row ${stored.seq}`,
        [stored.why, stored.before, stored.after, stored.detail].join("\n"),
      );
      const row = auditRow(stored);
      if (row.after?.state !== undefined) this.#moved(row);
      this.#letGo(row.subject);
    }
  }

  /** I6: a text that others may read. */
  told(where: string, text: string): void {
    for (const secret of this.#world.secrets) {
      if (text.includes(secret)) this.#world.violate("I6", `${where} tells the secret ${secret}`);
    }
  }

  /** I4: behind a 2xx the payment is known, or a person was told that nobody's order was paid. */
  acknowledged({ id, order }: SimSession): void {
    const known = this.#store.order(order as OrderId)?.paidAt ?? null;
    if (known === null && !this.#store.flags().some(({ subject }) => subject === id))
      this.#world.violate("I4", `the payment of ${order} was acknowledged and is not known`);
  }

  /** I8: with a daemon that runs, nothing stays as it is much longer than it may, unless a person was told. */
  late(): void {
    const now = this.#world.clock.now();
    const told = new Set(this.#store.flags().map(({ subject }) => subject));
    for (const { name, state, deadline, held } of this.#store.machines({ live: true })) {
      // Nobody works on one that is held.
      if (
        held !== null ||
        deadline === null ||
        now <= deadline + lateMs ||
        told.has(name) ||
        this.#late.has(name)
      )
        continue;
      this.#late.add(name);
      const late = Math.round((now - deadline) / 1000);
      this.#world.violate("I8", `${name} is ${state} ${late} s behind its deadline`);
    }
  }

  #moved({ subject, before, after, seq, actor }: AuditRow): void {
    const was = this.#states.get(subject);
    if (before?.state !== was)
      this.#world.violate("I10", `row ${seq}: ${subject} was ${before?.state}, and ${was} in the row before`);
    this.#states.set(subject, after?.state);
    const machine = this.#store.machine(subject as MachineName);
    if (machine) this.#machineMoved(machine);
    const order = machine ? null : this.#store.order(subject as OrderId);
    if (!order || actor.startsWith("person:") || !this.#world.isEntitled(order.id)) return;
    const told = this.#store
      .flags()
      .some((flag) => flag.kind === "order-failed" && flag.subject === order.id);
    if (order.state === "failed" && !told)
      this.#world.violate("I1", `${order.id} is paid, fails, and nobody is told`);
  }

  #machineMoved(machine: Machine): void {
    const { name, state, order, serverId } = machine;
    // What came back from a backup may be wrong: that is why nothing is done with it.
    if (machine.held !== null) return;
    const world = this.#world;
    const server = serverId === null ? null : (world.servers.get(serverId) ?? null);
    const first = order === null ? undefined : (this.#bound.get(name) ?? order);
    if (order !== null && first !== undefined) {
      this.#bound.set(name, first);
      if (first !== order) world.violate("I2", `${name} was order ${first}'s and is now ${order}'s`);
    }
    if (order === null && this.#bound.has(name) && state === "ready")
      world.violate("I2", `${name} was order ${this.#bound.get(name)}'s and is offered again`);
    if (state === "ready" && server?.machine.customer)
      world.violate("I2", `${name} is offered and has seen order ${server.machine.customer}`);
    if (state === "planned" && this.#store.machines({ live: true }).length > world.maxTotal)
      world.violate("I7", `more than ${world.maxTotal} machines are planned`);
    if (state === "destroyed") {
      const left = [...world.servers.values()].find(
        (other) => other.name === name && !world.strays.has(`server ${other.id}`),
      );
      if (left) world.violate("I3", `${name} is closed and its server ${left.id} exists`);
    }
    if (state === "serving" && server) this.#serves(name, order, server);
  }

  /** I9: handed over to this order and nobody else, by a key that was born on it, and closed behind us. */
  #serves(name: string, order: OrderId | null, { machine }: SimServer): void {
    if (machine.done?.order !== order)
      this.#world.violate("I9", `${name} is order ${order}'s and attested for ${machine.done?.order}`);
    if (machine.admin) this.#world.violate("I9", `${name} serves and still lets its builder in`);
    if (machine.hostKey !== machine.bornKey)
      this.#world.violate("I9", `${name} serves and shows the host key of its user_data`);
  }

  /** Intent before money (I3), and no more than allowed (I7). */
  #made({ name }: SimServer): void {
    const row = this.#store.machine(name as MachineName);
    if (!isLive(row)) this.#world.violate("I3", `${name} is bought and has no row`);
    const { strays, maxTotal } = this.#world;
    const bought = ourServers(this.#world).filter(({ id }) => !strays.has(`server ${id}`)).length;
    if (bought > maxTotal) this.#world.violate("I7", `${bought} servers exist, ${maxTotal} are allowed`);
  }

  /** I5: from when a machine serves an order it is kept for it, whatever the rows say of the two later. */
  #letGo(name: string): void {
    const machine = name.startsWith("claw-") ? this.#store.machine(name as MachineName) : null;
    // What came back from a backup may be wrong: as long as it is held, nothing is done with it.
    if (!machine || machine.held !== null) return;
    const { state, order } = machine;
    const { served } = this.#world;
    if (order !== null && customersStates.includes(state) && !served.has(name)) served.set(name, order);
    if (gone.includes(state)) this.#ends(name, machine, state);
  }

  /** I5: never the server of one that is kept for somebody. */
  #deleted({ id, name }: SimServer): void {
    this.#ends(
      name,
      this.#store.machineByServerId(id) ?? this.#store.machine(name as MachineName),
      "deleted",
    );
  }

  #ends(name: string, machine: Machine | null, how: string): void {
    const order = this.#world.served.get(name);
    if (order === undefined || machine?.endConfirmedBy || this.#world.retired.has(name)) return;
    const why = this.#world.keeps(order);
    // One that ended and whose server went by itself has nothing left that the grace would keep.
    const exists = [...this.#world.servers.values()].some((server) => server.name === name);
    if (why === null || (why === "is in its grace" && !exists)) return;
    const text = `${name} served ${order}, which ${why}, and is ${how}`;
    // Many rows are written until it is gone.
    if (!this.#world.violations.includes(`I5: ${text}`)) this.#world.violate("I5", text);
  }
}
