/**
 * What of the rows is kept outside of the database, sealed: one file for each live machine and each open order, written
 * behind each commit that changes it. Nothing else can bring back the key by which a machine is entered, the host key that
 * it is believed by, or the environment that a paying customer waits with. `docs/recovery.md` says when they are used.
 *
 * A file that could not be written is tried again each minute, and a person is told: recovery takes what it says for current.
 */
import type { Logger } from "pino";
import { z } from "zod";
import type { Machine, MachineName, MachineSecrets, OrderId } from "../machine/machine.ts";
import type { AgentSecrets, Order } from "../order/order.ts";
import type { Sealer } from "../secrets/seal.ts";
import type { Store } from "../store/store.ts";

/** Files by name (`machine-<name>`, `order-<id>`); the text is written as a whole or not at all. */
export interface RecordFiles {
  list(): Promise<readonly string[]>;
  read(name: string): Promise<string | null>;
  write(name: string, text: string): Promise<void>;
  remove(name: string): Promise<void>;
}

export interface MachineRecord {
  readonly machine: Machine;
  readonly secrets: MachineSecrets;
  /** It came out of a backup: the machine may have gone on since. */
  readonly fromBackup: boolean;
}

export interface OrderRecord {
  readonly order: Order;
  readonly secrets: AgentSecrets;
}

export interface Records {
  /** The row changed: its file follows, as soon as those before it are written. Never throws. */
  machineChanged(machine: Pick<Machine, "name">): void;
  orderChanged(order: OrderId): void;
  /**
   * Writes what the files lack of the store's rows; nothing that only the files have is removed. In quarantine it is put off
   * until that is over. What could not be written makes it no failure: `retry` tries it again.
   */
  catchUp(): Promise<void>;
  /** Tries again what could not be written, and catches up where that was put off; to be called each minute. */
  retry(): Promise<void>;
  /** @throws Error when a file cannot be read; one that does not open is logged and left out */
  machines(): Promise<Map<string, MachineRecord>>;
  /** @throws Error as `machines` */
  orders(): Promise<Map<string, OrderRecord>>;
  /** Resolves when all that was asked for is written. */
  settled(): Promise<void>;
}

/** Orders that nothing can come of any more are history. */
const closed: readonly Order["state"][] = ["released", "expired"];

const envelope = z.strictObject({ v: z.literal(1), fromBackup: z.boolean(), sealed: z.string() });

const flagKind = "record-not-written";
/** Stands for all records where the folder cannot be listed. */
const listing = "every record";
/** More names say nothing more. */
const mostNamed = 5;

export const machineFile = (name: string): string => `machine-${name}`;
export const orderFile = (id: string): string => `order-${id}`;

/** The same record, marked as one that may be older than the machine. @throws Error when it is none */
export function asFromBackup(text: string): string {
  return JSON.stringify({ ...envelope.parse(JSON.parse(text)), fromBackup: true });
}

export function createRecords(options: {
  readonly store: Pick<
    Store,
    | "machine"
    | "machines"
    | "machineSecrets"
    | "order"
    | "orders"
    | "agentSecrets"
    | "quarantine"
    | "flag"
    | "clearFlag"
  >;
  readonly sealer: Sealer;
  readonly files: RecordFiles;
  readonly log: Pick<Logger, "error" | "warn">;
}): Records {
  const { store, sealer, files, log } = options;
  const pending = new Set<string>();
  /** Why each could not be written when it was tried last. */
  const failed = new Map<string, string>();
  /** Rows may have changed of which no name is known here. */
  let behind = true;
  let writing: Promise<void> | null = null;

  const place = (name: string) => `record/${name}`;
  const seal = (name: string, content: unknown): string => {
    const sealed = sealer.seal(JSON.stringify(content), place(name));
    return JSON.stringify({ v: 1, fromBackup: false, sealed });
  };

  /** Null: the file has nothing to tell any more. */
  function text(name: string): string | null {
    if (name.startsWith("machine-")) {
      const machine = store.machine(name.slice("machine-".length) as MachineName);
      if (!machine || machine.state === "destroyed") return null;
      return seal(name, { machine, secrets: store.machineSecrets(machine.name) });
    }
    const order = store.order(name.slice("order-".length) as OrderId);
    if (!order || closed.includes(order.state)) return null;
    return seal(name, { order, secrets: store.agentSecrets(order.id) });
  }

  /** What came out of a backup, or was rebuilt, may be older than what the file says. */
  function isDoubtful(name: string): boolean {
    if (name.startsWith("machine-")) {
      const machine = store.machine(name.slice("machine-".length) as MachineName);
      return machine !== null && machine.held !== null;
    }
    if (!store.quarantine()) return false;
    behind = true;
    return true;
  }

  async function write(name: string): Promise<void> {
    pending.delete(name);
    try {
      if (!isDoubtful(name)) {
        const content = text(name);
        await (content === null ? files.remove(name) : files.write(name, content));
      }
      failed.delete(name);
    } catch (err) {
      failed.set(name, reasonOf(err));
      log.error({ record: name, err }, "a record outside of the database could not be written");
    }
  }

  async function writeAll(): Promise<void> {
    for (const name of pending) await write(name);
    tell();
  }

  function tell(): void {
    try {
      const [first] = failed.values();
      if (first !== undefined) store.flag(flagKind, "records", lackText([...failed.keys()].sort(), first));
      else if (!behind) store.clearFlag(flagKind, "records", "all records are written");
    } catch (err) {
      // The disk that takes no record may take no flag.
      log.error({ err }, "nobody could be told how the records outside of the database do");
    }
  }

  function changed(name: string): void {
    pending.add(name);
    writing ??= Promise.resolve()
      .then(writeAll)
      .finally(() => {
        writing = null;
        const [next] = pending;
        if (next !== undefined) changed(next);
      });
  }

  async function open<T>(prefix: string): Promise<Map<string, T>> {
    const found = new Map<string, T>();
    for (const name of await files.list()) {
      if (!name.startsWith(prefix)) continue;
      // A disk that fails just now must not make an order of unknown environment out of one that is written down.
      const content = await files.read(name);
      if (content === null) continue;
      try {
        const { sealed, fromBackup } = envelope.parse(JSON.parse(content));
        const record = JSON.parse(sealer.open(sealed, place(name)));
        found.set(name.slice(prefix.length), { ...record, fromBackup });
      } catch (err) {
        log.warn({ record: name, err }, "a record outside of the database cannot be read");
      }
    }
    return found;
  }

  const settled = async (): Promise<void> => {
    while (writing) await writing;
  };

  async function catchUp(): Promise<void> {
    behind = true;
    if (store.quarantine()) return;
    let there: ReadonlySet<string>;
    try {
      there = new Set(await files.list());
      failed.delete(listing);
    } catch (err) {
      failed.set(listing, reasonOf(err));
      log.error({ err }, "the records outside of the database cannot be listed");
      tell();
      return;
    }
    behind = false;
    for (const { name } of store.machines({ live: true })) changed(machineFile(name));
    for (const { id, state } of store.orders({ limit: 1_000_000 })) {
      if (!closed.includes(state) || there.has(orderFile(id))) changed(orderFile(id));
    }
    for (const { name, state } of store.machines()) {
      if (state === "destroyed" && there.has(machineFile(name))) changed(machineFile(name));
    }
    await settled();
    // Where there was nothing to write nobody else ends the flag of a daemon before.
    tell();
  }

  return {
    machineChanged: ({ name }) => changed(machineFile(name)),
    orderChanged: (id) => changed(orderFile(id)),
    catchUp,
    async retry() {
      if (behind) return catchUp();
      for (const name of failed.keys()) changed(name);
      await settled();
    },
    machines: () => open<MachineRecord>("machine-"),
    orders: () => open<OrderRecord>("order-"),
    settled,
  };
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function lackText(names: readonly string[], reason: string): string {
  const more = names.length > mostNamed ? ` and ${names.length - mostNamed} more` : "";
  return (
    `not up to date: ${names.slice(0, mostNamed).join(", ")}${more} (${reason}). ` +
    "What they lack is lost when the database is. Make room in `records` of state_dir, or mend its disk; " +
    "they are tried again each minute"
  );
}
