/**
 * Cases of the whole way: the pool is empty, two orders queue, and while machines are built for them the daemon is
 * killed (SIGKILL) as it buys, as it prepares and as it hands over. Machines are shared: each kill hits all of them,
 * whatever state they are in.
 */
import { strict as assert } from "node:assert";
import { watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { OrderView } from "../../api/views.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import { type Bought, statesOf, type World } from "./world.ts";

export function emptyPoolAndKills(world: () => World): void {
  let waiting: OrderView[] = [];
  const bought: Bought[] = [];
  /** Lets Stripe answer again. */
  let holding = (): void => {};
  after(() => holding());
  /** By what they are there for. */
  const named = () => {
    const [large, doubted] = bought;
    assert(large && doubted);
    return { large, doubted };
  };

  it("queues orders in the order of their payments while the pool is empty", async () => {
    const { rig } = world();
    await world().configure({ minReady: 0, maxTotal: 2, releaseGrace: "1h" });
    waiting = [await world().order("large", { model: "local/claw-large" }), await world().order("doubted")];
    // The first server is made, and nobody hears of it: neither the gate nor, after it was killed, the daemon.
    const { faults } = rig.cloud.hetzner;
    faults.add({ method: "POST", path: "/servers", effect: { kind: "drop", when: "after" } });
    faults.add({ method: "GET", path: "/servers", times: 9, effect: { kind: "delay", ms: 60_000 } });
    const lost = rig.cloud.hetzner.nextCall(({ route, method }) => route === "/servers" && method === "POST");
    for (const order of waiting) bought.push(await world().pay(order));
    const views = await Promise.all(waiting.map(({ id }) => rig.shop.view(id)));
    assert.deepEqual(
      views.map(({ state, position }) => [state, position]),
      [
        ["queued", 1],
        ["queued", 2],
      ],
    );
    for (const { estimate_seconds } of views) assert((estimate_seconds ?? 0) > 0, "no estimate");
    // Stripe's answer from now on: what the event said is not what the session says.
    const { account } = rig.cloud.stripe;
    Object.assign(account.session(named().doubted.session), { status: "open", payment_status: "unpaid" });
    assert.equal((await lost).status, null);
  });

  it("is killed while it buys, and finds the server that it did not hear of", async () => {
    const { rig, store } = world();
    await rig.daemon.kill();
    rig.cloud.hetzner.faults.clear();
    const { servers } = (await world().hetzner("/servers")).body as { servers: { id: number }[] };
    assert(
      servers.some(({ id }) => store.machineByServerId(id) === null),
      "every server's id was written down before the kill",
    );
    await rig.restart();
    await rig.until("each server has its row", async () =>
      servers.every(({ id }) => store.machineByServerId(id) !== null),
    );
  });

  it("is killed while it prepares, and goes on", async () => {
    const { rig } = world();
    await playbookWrites(join(rig.operator.stateDir, "ansible"));
    await rig.daemon.kill();
    await rig.restart();
  });

  it("begins to hand over as soon as the first machine is built", async () => {
    const { rig } = world();
    const { large } = named();
    // Until Stripe has answered the order cannot be served, however fast the machine is.
    holding = rig.cloud.stripe.console.hold(`GET /v1/checkout/sessions/${large.session}`);
    for await (const event of rig.shop.events(large.id)) if (event.type === "step") break;
  });

  it("is killed while it hands over, and the order is served by the same machine", async () => {
    const { rig, store } = world();
    const { large } = named();
    await rig.daemon.kill();
    holding();
    const name = world().machineOf(large.id);
    assert.equal(store.machine(name)?.state, "handing-over");
    await rig.restart();
    const events = await rig.shop.follow(large.id, ["running"]);
    assert.deepEqual(statesOf(events), ["awaiting-payment", "queued", "provisioning", "running"]);
    assert.equal(world().machineOf(large.id), name);
  });

  it("serves another model than the pool's by a change of the gateway's config", async () => {
    const { large } = named();
    // By the machine's own record: the daemon was not there to hear it.
    const { attestation } = JSON.parse(await fileOf(world(), large.id, "var/lib/clawpool/hand-over.json"));
    assert.equal(attestation.way, "config");
    await answers(large.id, "large", "claw-large");
  });

  it("never serves an order that Stripe does not confirm, and destroys its machine", async () => {
    const { rig, store } = world();
    const { doubted } = named();
    const events = await rig.shop.follow(doubted.id, ["failed"]);
    assert.deepEqual(statesOf(events), ["awaiting-payment", "queued", "provisioning", "failed"]);
    const used = events.map(({ data }) => data.machine).find((machine) => machine);
    await world().onlyLive([world().machineOf(named().large.id)]);
    const row = store.machines().find(({ name }) => name === used);
    assert.equal(row?.state, "destroyed");
    assert.equal((await world().hetzner(`/servers/${row?.serverId}`)).status, 404);
    const flag = store.flags().find(({ subject }) => subject === doubted.id);
    assert.match(flag?.text ?? "", /the session is open/);
  });

  it("has bought exactly one server for each row", async () => {
    const { rig, store } = world();
    const billed = rig.cloud.hetzner.bill().lines.filter(({ kind }) => kind === "server");
    const rows = store.machines().filter(({ serverId }) => serverId !== null);
    assert.deepEqual(
      billed.map(({ id, name }) => `${id} ${name}`).sort(),
      rows.map(({ serverId, name }) => `${serverId} ${name}`).sort(),
    );
    // First two, then one for each of the two orders: no kill has cost a machine.
    assert.equal(rows.length, 4, rows.map(({ name, reason }) => `${name}: ${reason}`).join("\n"));
  });

  async function answers(id: OrderId, customer: string, model: string): Promise<void> {
    const { rig, customer: caller } = world();
    const { gateway_token: token } = await rig.shop.access(id);
    const text = `Hello from ${customer}`;
    assert.equal(await caller.ask(await rig.shop.view(id), token, text), `claw says: ${text}`);
    const asked = rig.cloud.model.requests().filter(({ lastUserText }) => lastUserText === text);
    assert.deepEqual([...new Set(asked.map((request) => request.model))], [model]);
  }
}

async function fileOf({ rig, store, machineOf }: World, order: OrderId, path: string): Promise<string> {
  const serverId = store.machine(machineOf(order))?.serverId;
  assert(serverId);
  if (rig.cloud.rootOf) return readFile(join(rig.cloud.rootOf(serverId), path), "utf8");
  return (await rig.cloud.nspawn?.exec(serverId, ["cat", `/${path}`]))?.stdout ?? "";
}

/** Resolves when some playbook writes to its log. */
function playbookWrites(folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(folder, (_event, file) => {
      if (!file?.endsWith(".jsonl")) return;
      watcher.close();
      resolve();
    });
    watcher.once("error", reject);
  });
}
