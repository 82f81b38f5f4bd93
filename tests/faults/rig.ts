/**
 * The local cloud of one file of faults: daemon process, folder machines, terraform with the stand-in provider, Stripe's
 * stand-in, servers of other people. Shared by the file's tests; each ends with `settle`.
 */
import { strict as assert } from "node:assert";
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Stripe } from "stripe";
import type { OrderView } from "../../api/views.ts";
import { ours } from "../../pool/machine/labels.ts";
import type { Machine, MachineName, MachineState } from "../../pool/machine/machine.ts";
import { billGaps } from "../bill/agreement.ts";
import type { ConfigChange, MachineKind } from "../cloud/local-cloud.ts";
import { type Bought, startWorld, type World } from "../e2e/world.ts";
import { broken, type Facts, type SeenServer, unrest } from "../invariants.ts";

export interface FaultRig extends Omit<World, "stop"> {
  /** Made, paid, told of. */
  buy(name: string, change?: Record<string, unknown>): Promise<Bought & { readonly view: OrderView }>;
  /** Resolves when the order is in this state. */
  reached(order: string, state: OrderView["state"]): Promise<void>;
  /** Bought; resolves when it runs. */
  serve(name: string): Promise<Bought & { readonly view: OrderView }>;
  /** The machine that has this order. */
  serving(order: Bought): Machine;
  machines(...states: MachineState[]): Machine[];
  /** Posts this body as Stripe would, signed as told. @returns the status */
  post(
    body: string | Uint8Array,
    signed?: { secret?: string; at?: number; payload?: string; header?: string },
  ): Promise<number>;
  /** One more warm machine is wanted; resolves with its row, which has only just been planned. */
  another(): Promise<Machine>;
  /** So many fewer are wanted. */
  fewer(count: number): Promise<void>;
  /** Resolves when the machine is in one of these states. */
  became(name: MachineName, ...states: MachineState[]): Promise<Machine>;
  /** Where terraform works on it. */
  folderOf(name: MachineName): string;
  /** The body of the newest delivery of this type about this object. */
  told(type: string, object: string): string;
  /** Nothing more goes wrong on purpose. */
  calm(): void;
  /**
   * Resolves when everything is at rest, in calm. @throws AssertionError naming each invariant that does not hold, or what is
   * billed and nobody has
   */
  settle(): Promise<void>;
}

/** What the file's pool is to be. */
export interface FaultRigOptions extends ConfigChange {
  readonly minReady: number;
  readonly maxTotal: number;
}

const strangers = [
  { name: "somebody-elses", labels: {} },
  { name: "claw-other-aaaaaaaaaa", labels: { "managed-by": "clawpool", "clawpool-instance": "other" } },
];

export async function startFaultRig(
  options: FaultRigOptions,
  kind: MachineKind = "process",
): Promise<FaultRig & { stop(): Promise<void> }> {
  const world = await startWorld(kind, { maxParallelBuilds: 5, ...options });
  let wanted = options;
  try {
    const { rig, store } = world;
    const { cloud, operator } = rig;
    const foreign = await Promise.all(strangers.map((stranger) => makeStranger(world, stranger)));

    const facts = async (): Promise<Facts> => {
      const selector = new URLSearchParams({ label_selector: ours("local"), per_page: "50" });
      const [{ body }, devices, { body: all }] = await Promise.all([
        world.hetzner(`/servers?${selector}`),
        cloud.tailscale.devices(),
        world.hetzner("/servers?per_page=50"),
      ]);
      const others = (all.servers as StrangeServer[]).map(({ id, name, labels }) =>
        JSON.stringify({ id, name, labels }),
      );
      const folders = join(operator.stateDir, "terraform", "machines");
      return {
        store,
        servers: await Promise.all((body.servers as ListedServer[]).map((server) => seen(world, server))),
        devices: devices
          .filter(({ nodeId }) => nodeId !== world.customer.node?.nodeId)
          .map(({ hostname }) => hostname),
        folders: existsSync(folders) ? readdirSync(folders) : [],
        sessions: sessionsOf(world),
        isEntitled: (order) => isEntitled(world, order),
        bill: cloud.hetzner
          .bill()
          .lines.filter(({ kind, id }) => kind === "server" && !foreign.some((one) => one.id === id))
          .map(({ id, name, started, ended }) => ({ id, name, from: started, until: ended })),
        maxTotal: wanted.maxTotal,
        touched: foreign.flatMap((one) =>
          others.includes(one.seen) ? [] : [`${one.name} of somebody else is gone or changed`],
        ),
        told: await world.canaries.inFiles([rig.daemon.logFile, join(operator.stateDir, "ansible")]),
      };
    };

    const faultRig: FaultRig = {
      ...world,
      async configure(change) {
        wanted = { ...wanted, ...change } as FaultRigOptions;
        await world.configure(change);
      },
      async buy(name, change = {}) {
        const view = await world.order(name, change);
        return { ...(await world.pay(view)), view };
      },
      async reached(order, state) {
        await rig.shop.follow(order, [state]);
      },
      async serve(name) {
        await world.ready(1);
        const bought = await faultRig.buy(name);
        await faultRig.reached(bought.id, "running");
        return bought;
      },
      serving: ({ id }) => store.machine(world.machineOf(id)) ?? assert.fail(),
      machines: (...states) => store.machines({ states }),
      async post(body, { secret, at, payload, header } = {}) {
        const text = typeof body === "string" ? body : Buffer.from(body).toString("latin1");
        const signature = Stripe.webhooks.generateTestHeaderString({
          payload: payload ?? text,
          secret: secret ?? cloud.stripe.webhookSecret,
          timestamp: Math.floor((at ?? Date.now()) / 1_000),
        });
        const headers = {
          "content-type": "application/json; charset=utf-8",
          "stripe-signature": header ?? signature,
        };
        const url = `${rig.daemon.url}/webhooks/stripe`;
        return (await fetch(url, { method: "POST", headers, body: body as string })).status;
      },
      async another() {
        const before = new Set(store.machines().map(({ name }) => name));
        await faultRig.configure({ minReady: wanted.minReady + 1 });
        return rig.until("another machine is planned", async () =>
          store.machines().find(({ name }) => !before.has(name)),
        );
      },
      fewer: (count) => faultRig.configure({ minReady: wanted.minReady - count }),
      became: (name, ...states) =>
        rig.until(`${name} is ${states.join(" or ")}`, async () => {
          const machine = store.machine(name);
          return machine && states.includes(machine.state) ? machine : null;
        }),
      folderOf: (name) => join(operator.stateDir, "terraform", "machines", name),
      told(type, object) {
        const found = cloud.stripe
          .deliveries()
          .findLast((one) => one.type === type && one.requestBody.includes(object));
        return found?.requestBody ?? assert.fail(`nothing of type ${type} about ${object} was sent`);
      },
      calm: () => clearFaults(world),
      async settle() {
        clearFaults(world);
        await cloud.stripe.settled();
        let last: string[] = [];
        await rig.until("everything is at rest", async () => {
          last = unrest(store, wanted);
          return last.length === 0;
        });
        const found = await facts();
        assert.deepEqual(broken(found), []);
        // The bill: what is charged from now on is what live rows have, and nothing else.
        const live = store.machines({ live: true }).map(({ serverId }) => serverId);
        const charged = found.bill.filter(({ until }) => until === null).map(({ id }) => id);
        assert.deepEqual(charged.sort(), live.sort());
        await rig.until("the prices are known", async () => store.prices());
        const lines = cloud.hetzner.bill().lines.filter(({ id }) => !foreign.some((one) => one.id === id));
        assert.deepEqual(billGaps(store, lines, Date.now()), []);
      },
    };
    return { ...faultRig, stop: world.stop };
  } catch (error) {
    await world.stop();
    throw error;
  }
}

function clearFaults({ rig: { cloud } }: World): void {
  cloud.hetzner.faults.clear();
  cloud.stripe.faults.clear();
  void cloud.tailscale.faults.clear();
}

interface StrangeServer {
  readonly id: number;
  readonly name: string;
  readonly labels: Record<string, string>;
}

/** A server that is none of ours, in the same project. */
async function makeStranger(
  { rig: { cloud } }: World,
  { name, labels }: (typeof strangers)[number],
): Promise<{ id: number; name: string; seen: string }> {
  const made = await fetch(`${cloud.hetzner.endpoint}/servers`, {
    method: "POST",
    headers: { authorization: `Bearer ${cloud.hetzner.token}`, "content-type": "application/json" },
    body: JSON.stringify({
      name,
      labels,
      server_type: "cx23",
      image: "debian-12",
      location: "fsn1",
      start_after_create: false,
      // So that nothing beside it is on the bill.
      public_net: { enable_ipv4: false, enable_ipv6: true },
    }),
  });
  assert.equal(made.status, 201);
  const { server } = (await made.json()) as { server: StrangeServer };
  return { id: server.id, name, seen: JSON.stringify({ id: server.id, name, labels }) };
}

interface ListedServer {
  readonly id: number;
  readonly name: string;
  readonly status: string;
}

/** What a machine's own disk says of whom it has seen and whom it lets in. */
async function seen(world: World, { id, name, status }: ListedServer): Promise<SeenServer> {
  const noted = await fileOn(world, id, "var/lib/clawpool/hand-over.json");
  const state = noted ? (JSON.parse(noted) as { order: string; rehearsal: boolean; done: boolean }) : null;
  const customer = state && !state.rehearsal ? state.order : null;
  const admin = (await fileOn(world, id, "home/clawpool/.ssh/authorized_keys")) !== null;
  return {
    id,
    name,
    deleting: false,
    off: status === "off",
    customer,
    serves: state?.done ? customer : null,
    admin,
  };
}

async function fileOn({ rig: { cloud } }: World, id: number, path: string): Promise<string | null> {
  if (cloud.rootOf) return readFile(join(cloud.rootOf(id), path), "utf8").catch(() => null);
  const read = await cloud.nspawn?.exec(id, ["cat", `/${path}`]);
  return read?.code === 0 ? read.stdout : null;
}

function sessionsOf({ rig: { cloud } }: World): Facts["sessions"] {
  const paid = new Set(
    cloud.stripe
      .deliveries()
      .filter(({ type, status }) => type.startsWith("checkout.session.") && status === 200)
      .map(({ requestBody }) => requestBody)
      .flatMap((body) => {
        const { object } = (JSON.parse(body) as { data?: { object: Record<string, string> } }).data ?? {};
        return object?.payment_status === "paid" ? [object.id] : [];
      }),
  );
  return [...cloud.stripe.account.sessions.values()].flatMap(({ id, client_reference_id: order }) =>
    order ? [{ id, order, acknowledged: paid.has(id) }] : [],
  );
}

function isEntitled({ rig: { cloud } }: World, order: string): boolean {
  const { sessions, subscriptions } = cloud.stripe.account;
  return [...sessions.values()].some(
    (session) =>
      session.client_reference_id === order &&
      session.payment_status === "paid" &&
      ["active", "trialing", "past_due"].includes(
        subscriptions.get(String(session.subscription ?? ""))?.status ?? "",
      ),
  );
}
