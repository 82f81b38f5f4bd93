/** What the end-to-end suites look at beside the rig: the store with its secrets, the customer, and who knows what. */
import { strict as assert } from "node:assert";
import { readFileSync, statSync, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { OrderView } from "../../api/views.ts";
import { address, type MachineName, machineName, type OrderId } from "../../pool/machine/machine.ts";
import { createSealer } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import type { SshTarget } from "../../pool/ssh/ssh.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { becomeCustomer, type Customer } from "../cloud/agent.ts";
import type { ConfigChange, MachineKind } from "../cloud/local-cloud.ts";
import type { OrderEventLine } from "../cloud/shop.ts";
import { Canaries } from "./canaries.ts";
import { type Rig, startRig, unwindAll } from "./rig.ts";

export interface Bought {
  readonly id: OrderId;
  readonly session: string;
  readonly subscription: string;
  readonly stripeCustomer: string;
}

export interface World {
  readonly kind: MachineKind;
  readonly rig: Rig;
  /** The daemon's own store, opened beside it. */
  readonly store: Store;
  /** Another file has taken its place. */
  reopenStore(): void;
  readonly customer: Customer;
  readonly canaries: Canaries;
  /** Changes the configuration file (what was changed before stays); resolves when the daemon has applied it. */
  configure(change: ConfigChange): Promise<void>;
  /** An order whose environment holds a canary as its model key. */
  order(name: string, change?: Record<string, unknown>): Promise<OrderView>;
  /** The buyer pays; resolves when Stripe's events had their first answer. */
  pay(order: OrderView): Promise<Bought>;
  cancel(order: Bought): Promise<void>;
  machineOf(order: OrderId): MachineName;
  ready(count: number): Promise<void>;
  /** Resolves when no row but these machines' is left open. */
  onlyLive(names: readonly MachineName[]): Promise<void>;
  /** As whom the controller logs in. */
  target(name: MachineName, username: string): SshTarget;
  /** A call of Hetzner's API as an operator would make it. */
  hetzner(path: string): Promise<{ status: number; body: Record<string, unknown> }>;
  stop(): Promise<void>;
}

/** The key that the customer of this name brings for the model. */
export const modelKeyOf = (name: string): string => `sk-model-of-${name}-${salt}`;
const salt = crypto.randomUUID().replaceAll("-", "");

export const statesOf = (events: readonly OrderEventLine[]): string[] =>
  events.flatMap(({ type, data }) => (type === "state" ? [String(data.state)] : []));

export async function startWorld(kind: MachineKind, config: ConfigChange): Promise<World> {
  const rig = await startRig(kind, config);
  const stops: (() => unknown)[] = [() => rig.stop()];
  try {
    const { cloud, operator } = rig;
    let present = config;
    const sealingKey = readFileSync(join(rig.dir, "secrets", "sealing.key"), "utf8");
    const openStore = () =>
      openSqliteStore({
        file: join(operator.stateDir, "clawpool.sqlite"),
        sealer: createSealer([new Secret(sealingKey)]),
      });
    let opened = openStore();
    // Whoever holds it holds the one of now.
    const store = new Proxy({} as Store, { get: (_, verb) => Reflect.get(opened, verb) });
    stops.push(() => opened.close());
    const canaries = new Canaries(rig, store);
    stops.push(() => canaries.close());
    const customer = await becomeCustomer(cloud, join(rig.dir, "customer"));
    stops.push(() => customer.close());

    return {
      kind,
      rig,
      store,
      reopenStore() {
        opened.close();
        opened = openStore();
      },
      customer,
      canaries,
      async configure(change) {
        present = { ...present, ...change };
        const applied = nextLine(rig.daemon.logFile, "configuration applied");
        await cloud.writeConfig(present);
        await applied;
      },
      order(name, change = {}) {
        canaries.add(`model key of ${name}`, modelKeyOf(name));
        return rig.shop.order({ customer: name, env: { CLAW_MODEL_API_KEY: modelKeyOf(name) }, ...change });
      },
      async pay({ id, checkout_session }) {
        const { session, subscription, sent } = cloud.stripe.console.buy(checkout_session ?? "");
        await sent;
        const stripeCustomer = String(subscription.customer);
        return { id: id as OrderId, session: session.id, subscription: subscription.id, stripeCustomer };
      },
      cancel: (order) => cloud.stripe.console.cancel(order.subscription).sent,
      machineOf(order) {
        const name = store.order(order)?.machine;
        assert(name, `order ${order} has no machine`);
        return machineName(name);
      },
      ready: async (count) => {
        await rig.until(`${count} machines are ready`, async () => {
          const { length } = store.machines({ states: ["ready"] });
          return length >= count;
        });
      },
      onlyLive: async (names) => {
        await rig.until(`only ${names.join(", ") || "nothing"} is left`, async () =>
          store.machines({ live: true }).every(({ name }) => names.includes(name)),
        );
      },
      target(name, username) {
        const machine = store.machine(name);
        assert(machine?.hostKey, `${name} has no pinned host key`);
        return {
          host: address(machine),
          port: kind === "nspawn" ? 22 : 22_022,
          username,
          privateKey: new Secret(store.machineSecrets(name).controllerKey),
          hostKey: machine.hostKey,
        };
      },
      async hetzner(path) {
        const headers = { authorization: `Bearer ${cloud.hetzner.token}` };
        const answer = await fetch(`${cloud.hetzner.endpoint}${path}`, { headers });
        return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
      },
      stop: () => unwindAll(stops),
    };
  } catch (error) {
    await unwindAll(stops);
    throw error;
  }
}

/** Resolves when a line with this text is added to the log. */
function nextLine(file: string, text: string): Promise<void> {
  const from = statSync(file).size;
  return new Promise((resolve, reject) => {
    const watcher = watch(file, () => {
      if (!readFileSync(file).subarray(from).includes(text)) return;
      watcher.close();
      resolve();
    });
    watcher.once("error", reject);
  });
}

/**
 * The cases of a way build on each other: after one that failed the others would only wait for what will never come.
 * They are not tried, loudly, and the end of the daemon's log is printed.
 */
export function inOrder(world: () => World | undefined): void {
  let failed: string | null = null;
  beforeEach(() => {
    if (failed !== null) assert.fail(`not tried, because this failed: ${failed}`);
  });
  afterEach(async function () {
    if (this.currentTest?.state !== "failed") return;
    failed ??= this.currentTest.title;
    const present = world();
    if (!present) return;
    const log = await readFile(present.rig.daemon.logFile, "utf8");
    console.log(`The end of the daemon's log:\n${log.split("\n").slice(-40).join("\n")}`);
    const { store } = present;
    for (const { name, state, order, attempts, reason } of store.machines())
      console.log(`machine ${name} ${state} order=${order} attempts=${attempts} ${reason ?? ""}`);
    for (const { id, state, machine, reason } of store.orders())
      console.log(`order ${id} ${state} machine=${machine} ${reason ?? ""}`);
  });
}
