/**
 * What of the rows is kept outside of the database, sealed: one file for each live machine and each open order, written
 * behind each commit that changes it. Nothing else can bring back the key by which a machine is entered, the host key that
 * it is believed by, or the environment that a paying customer waits with. `docs/recovery.md` says when they are used.
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
  /** Writes what the files lack of the store's rows; nothing that only the files have is removed. */
  catchUp(): Promise<void>;
  machines(): Promise<Map<string, MachineRecord>>;
  orders(): Promise<Map<string, OrderRecord>>;
  /** Resolves when all that was asked for is written. */
  settled(): Promise<void>;
}

/** Orders that nothing can come of any more are history. */
const closed: readonly Order["state"][] = ["released", "expired"];

const envelope = z.strictObject({ v: z.literal(1), fromBackup: z.boolean(), sealed: z.string() });

export const machineFile = (name: string): string => `machine-${name}`;
export const orderFile = (id: string): string => `order-${id}`;

/** The same record, marked as one that may be older than the machine. @throws Error when it is none */
export function asFromBackup(text: string): string {
  return JSON.stringify({ ...envelope.parse(JSON.parse(text)), fromBackup: true });
}

export function createRecords(options: {
  readonly store: Pick<
    Store,
    "machine" | "machines" | "machineSecrets" | "order" | "orders" | "agentSecrets" | "quarantine"
  >;
  readonly sealer: Sealer;
  readonly files: RecordFiles;
  readonly log: Pick<Logger, "error" | "warn">;
}): Records {
  const { store, sealer, files, log } = options;
  const pending = new Set<string>();
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

  async function writeAll(): Promise<void> {
    for (const name of pending) {
      pending.delete(name);
      try {
        const content = text(name);
        await (content === null ? files.remove(name) : files.write(name, content));
      } catch (err) {
        log.error({ record: name, err }, "a record outside of the database could not be written");
      }
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
      try {
        const { sealed, fromBackup } = envelope.parse(JSON.parse((await files.read(name)) ?? ""));
        const content = JSON.parse(sealer.open(sealed, place(name)));
        found.set(name.slice(prefix.length), { ...content, fromBackup });
      } catch (err) {
        log.warn({ record: name, err }, "a record outside of the database cannot be read");
      }
    }
    return found;
  }

  const settled = async (): Promise<void> => {
    while (writing) await writing;
  };

  return {
    machineChanged({ name }) {
      // What is held may be older than what the file says.
      if (store.machine(name)?.held == null) changed(machineFile(name));
    },
    orderChanged(id) {
      if (!store.quarantine()) changed(orderFile(id));
    },
    async catchUp() {
      if (store.quarantine()) return;
      const there = new Set(await files.list());
      const gone = (name: string) => there.has(name);
      const machines = store.machines({ live: true }).filter(({ held }) => held === null);
      const orders = store.orders({ limit: 1_000_000 });
      for (const { name } of machines) changed(machineFile(name));
      for (const { id, state } of orders) {
        if (!closed.includes(state) || gone(orderFile(id))) changed(orderFile(id));
      }
      for (const { name, state } of store.machines()) {
        if (state === "destroyed" && gone(machineFile(name))) changed(machineFile(name));
      }
      await settled();
    },
    machines: () => open<MachineRecord>("machine-"),
    orders: () => open<OrderRecord>("order-"),
    settled,
  };
}
