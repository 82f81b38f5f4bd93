/**
 * The whole way on one kind of machines, as one story on one local cloud: the pool fills, customers buy, are served, are
 * queued, cancel; the daemon is killed at bad moments; nothing is left over and nothing is told.
 */
import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import { execa } from "execa";
import { publicKeyOf } from "../../pool/ssh/keys.ts";
import { createSsh } from "../../pool/ssh/ssh2.ts";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import type { MachineKind } from "../cloud/local-cloud.ts";
import { keyDigest } from "../cloud/model/server.ts";
import type { OrderEventLine } from "../cloud/shop.ts";
import { openSession } from "../cloud/stripe/state/checkout.ts";
import { assertAudited } from "../store/audited.ts";
import { assertNothingTold, assertProcessesTellNothing } from "./artefacts.ts";
import { emptyPoolAndKills } from "./kills.ts";
import { metadataIsClosed, webhooksThatChangeNothing } from "./refusals.ts";
import { repairs } from "./trouble.ts";
import { type Bought, inOrder, modelKeyOf, startWorld, statesOf, type World } from "./world.ts";

/** Long enough to ask the agent something in between, on a loaded host too. */
const grace = "12s";

export function wholeWay(kind: MachineKind): void {
  describe(`the whole way on ${kind} machines`, function () {
    // Building an nspawn machine takes one to two minutes, on a loaded host more; a folder takes five seconds.
    this.timeout(kind === "nspawn" ? 900_000 : 120_000);
    let world: World;
    let first: Bought;
    const poolTokens = new Map<string, string>();

    before(async () => {
      world = await startWorld(kind, { minReady: 0, maxTotal: 2, releaseGrace: grace });
    });
    after(() => world?.stop());
    inOrder(() => world);

    it("fills the pool when min_ready grows, without a restart", async () => {
      await world.configure({ minReady: 2 });
      await world.ready(2);
      for (const { name } of world.store.machines({ states: ["ready"] })) {
        poolTokens.set(name, world.store.machineSecrets(name).poolToken);
      }
    });

    it("never serves an order whose subscription ended before its payment came in", async () => {
      const { rig } = world;
      const { console: desk } = rig.cloud.stripe;
      const order = await world.order("early");
      const released = rig.shop.follow(order.id, ["released"]);
      const { subscription } = desk.buy(order.checkout_session ?? "", { hold: true });
      desk.cancel(subscription.id, { hold: true });
      await rig.cloud.stripe.release(["customer.subscription.deleted", "checkout.session.completed"]);
      assert.deepEqual(statesOf(await released), ["awaiting-payment", "released"]);
      assert.equal(world.store.machines({ states: ["ready"] }).length, 2);
    });

    it("tells the operator of a payment for an order that it does not know", async () => {
      const { stripe } = world.rig.cloud;
      const session = openSession(stripe.account, {
        items: [{ price: [...stripe.account.prices.keys()][0] ?? "", quantity: 1 }],
        clientReferenceId: `ord_${"a".repeat(24)}`,
        successUrl: "https://shop.example/thanks",
      });
      await stripe.console.buy(session.id).sent;
      const { stdout } = await execa(process.execPath, clawpoolArgs(world.rig.operator.configFile, "status"));
      assert.match(stdout, new RegExp(`payment-for-unknown-order ${session.id}`));
    });

    it("serves a payment from the warm pool, and tells its progress without loss to a reader that was cut off", async () => {
      const { rig } = world;
      const order = await world.order("first");
      const reader = (async () => {
        const seen: OrderEventLine[] = [];
        for await (const event of rig.shop.events(order.id))
          if (seen.push(event) && event.type === "step") break;
        for await (const event of rig.shop.events(order.id, seen.at(-1)?.id))
          if (seen.push(event) && event.data.state === "running") break;
        return seen;
      })();
      first = await world.pay(order);
      const seen = await reader;
      assert.deepEqual(statesOf(seen), ["awaiting-payment", "queued", "provisioning", "running"]);
      const steps = seen.filter(({ type }) => type === "step").map(({ data }) => data.step);
      for (const step of ["noted", "env", "reload", "joined", "admin-dropped"])
        assert(steps.includes(step), step);
      const places = seen.map(({ type, data }) => (type === "step" ? "step" : data.state));
      assert(places.indexOf("provisioning") < places.indexOf("step"));
      assert.equal(places.lastIndexOf("step") < places.indexOf("running"), true);
      assert.deepEqual(
        seen.map(({ id }) => id),
        seen.map((_, index) => index + 1),
      );
      const atOnce = await rig.shop.follow(order.id, ["running"]);
      const content = (events: readonly OrderEventLine[]) => events.map(({ receivedAt: _, ...rest }) => rest);
      assert.deepEqual(content(seen), content(atOnce));

      const { state, machine, running_since } = await rig.shop.view(order.id);
      assert.equal(state, "running");
      assert(running_since);
      const row = world.store.machine(world.machineOf(first.id));
      const { body } = await world.hetzner(`/servers/${row?.serverId}`);
      const server = body.server as { public_net: { ipv4: { ip: string } }; server_type: { name: string } };
      assert.equal(machine?.ip, server.public_net.ipv4.ip);
      assert.equal(machine?.size, server.server_type.name);
      assert.equal(machine?.region, "fsn1");
      assert.match(machine?.tailnet_address ?? "", /^100\.\d+\.\d+\.\d+$/);
    });

    it("has the agent answer with the customer's token and the customer's model key", async () => {
      const { rig, customer } = world;
      const view = await rig.shop.view(first.id);
      const { gateway_token: token } = await rig.shop.access(first.id);
      const reply = await customer.ask(view, token, "Say hello to the person who just paid.");
      assert.equal(reply, "claw says: Say hello to the person who just paid.");
      const asked = rig.cloud.model
        .requests()
        .filter(({ lastUserText }) => lastUserText === "Say hello to the person who just paid.");
      assert.deepEqual(
        [...new Set(asked.map(({ keyDigest: key }) => key))],
        [keyDigest(modelKeyOf("first"))],
      );
    });

    it("refuses the pool's token, and whoever has none", async () => {
      const view = await world.rig.shop.view(first.id);
      const poolToken = poolTokens.get(world.machineOf(first.id));
      assert(poolToken);
      const ask = async (headers: Record<string, string>) =>
        (await world.customer.request(view, "/v1/models", { headers })).status;
      assert.equal(await ask({ authorization: `Bearer ${poolToken}` }), 401);
      assert.equal(await ask({}), 401);
      const { gateway_token: token } = await world.rig.shop.access(first.id);
      assert.equal(await ask({ authorization: `Bearer ${token}` }), 200);
    });

    it("is in the tailnet under its own name, with the customers' tag", async () => {
      const { machine } = await world.rig.shop.view(first.id);
      const device = await world.rig.cloud.tailscale.waitForDevice(
        ({ addresses, online }) => online && addresses.includes(machine?.tailnet_address ?? ""),
      );
      assert.equal(device.hostname, machine?.name);
      assert.deepEqual(device.tags, ["tag:claw-vm"]);
      await world.rig.until("the enrolment is confirmed", async () => {
        const row = world.store.machine(world.machineOf(first.id));
        return row?.enrolled && row.labelled;
      });
      assert(!world.store.flags().some(({ kind: flag }) => flag === "not-enrolled"));
    });

    it("carries the order and Stripe's customer as labels of the server", async () => {
      const row = world.store.machine(world.machineOf(first.id));
      const { body } = await world.hetzner(`/servers/${row?.serverId}`);
      const { labels } = body.server as { labels: Record<string, string> };
      assert.equal(labels["clawpool-order"], first.id);
      assert.equal(labels["stripe-customer"], first.stripeCustomer);
    });

    it("shows the host key that was born on it, not the one in user_data", async () => {
      const name = world.machineOf(first.id);
      const target = world.target(name, "root");
      const booted = publicKeyOf(world.store.machineSecrets(name).bootHostKey);
      assert.notEqual(target.hostKey, booted);
      const ssh = createSsh();
      (await ssh.connect(target)).close();
      await assert.rejects(ssh.connect({ ...target, hostKey: booted }), { code: "host-key" });
    });

    it("gives the controller's key nothing but the hand-over program, as root, and no login as its user", async () => {
      const name = world.machineOf(first.id);
      const ssh = createSsh();
      const connection = await ssh.connect(world.target(name, "root"));
      try {
        const exec = await connection.start("id; cat /etc/shadow");
        for await (const line of exec.lines()) {
          assert.equal(JSON.parse(line).type, "armed");
          break;
        }
        exec.end();
        const { stdout } = await exec.done;
        assert.doesNotMatch(stdout, /uid=|root:/);
      } finally {
        connection.close();
      }
      await assert.rejects(ssh.connect(world.target(name, "clawpool")), { code: "auth" });
    });

    if (kind === "nspawn") {
      it("keeps the metadata service from the agent's user", () => metadataIsClosed(world, first));
    }

    if (kind === "nspawn") {
      it("sees that the customer's gateway hangs, and restarts it; the agent answers again", async () => {
        await world.configure({ heartbeat: "5s" });
        await repairs(world, first.id, "gateway");
        const { gateway_token: token } = await world.rig.shop.access(first.id);
        const view = await world.rig.shop.view(first.id);
        assert.equal(await world.customer.ask(view, token, "Are you back?"), "claw says: Are you back?");
      });
    }

    it("changes nothing for webhooks that are forged, stale, repeated or late", () =>
      webhooksThatChangeNothing(world, first));

    it("lets a cancelled agent go on through the grace", async () => {
      const { gateway_token: token } = await world.rig.shop.access(first.id);
      await world.cancel(first);
      const view = await world.rig.shop.view(first.id);
      assert.equal(view.state, "releasing");
      assert.equal(await world.customer.ask(view, token, "Still there?"), "claw says: Still there?");
      assert(Date.now() < Date.parse(view.release_at ?? ""), "the question itself outlasted the grace");
    });

    it("retires what is too much when min_ready shrinks, without a restart", async () => {
      const name = world.machineOf(first.id);
      const [spare] = world.store.machines({ states: ["ready"] });
      await world.configure({ minReady: 0 });
      await world.onlyLive([name]);
      const row = spare && world.store.machine(spare.name);
      assert.equal(row?.state, "destroyed");
      assert.equal(row?.reason, "the pool keeps 0");
      assert.equal((await world.hetzner(`/servers/${row?.serverId}`)).status, 404);
    });

    it("destroys the cancelled agent's machine after the grace: device, server, row, bill", async () => {
      const { rig, store } = world;
      const row = store.machine(world.machineOf(first.id));
      assert(row?.tailnetNode);
      const events = await rig.shop.follow(first.id, ["released"]);
      assert.deepEqual(statesOf(events).slice(-3), ["running", "releasing", "released"]);
      const { release_at } = await rig.shop.view(first.id);
      const deleted = rig.cloud.hetzner
        .calls()
        .find(({ method, path }) => method === "DELETE" && path === `/v1/servers/${row.serverId}`);
      assert(deleted && deleted.time >= Date.parse(release_at ?? ""), "deleted before the grace was over");
      assert.equal((await world.hetzner(`/servers/${row.serverId}`)).status, 404);
      assert.equal(store.machine(row.name)?.state, "destroyed");
      await rig.cloud.tailscale.waitForDevices((devices) =>
        devices.every(({ nodeId }) => nodeId !== row.tailnetNode),
      );
      assert.equal(rig.cloud.hetzner.bill().owedPerHour, 0);
    });

    emptyPoolAndKills(() => world);

    if (kind === "nspawn") {
      it("sees that a customer's tailscaled hangs, and restarts it; the agent is reached again", async () => {
        const [order] = world.store.orders({ states: ["running"] });
        assert(order);
        await repairs(world, order.id, "tailscaled");
        const { gateway_token: token } = await world.rig.shop.access(order.id);
        const view = await world.rig.shop.view(order.id);
        assert.equal(await world.customer.ask(view, token, "Still here?"), "claw says: Still here?");
      });
    }

    it("tells no secret to any file, journal or log while it runs", () => assertNothingTold(world));

    it("has told every change of state, also those around a SIGKILL, in an audit log whose noted head is still in it", async () => {
      const { rig, store } = world;
      assertAudited(store);
      const log = (await readFile(rig.daemon.logFile, "utf8"))
        .split("\n")
        .filter((line) => line.includes("audit head"));
      assert(log.length > 0, "no start of the daemon noted the head");
      const { head } = JSON.parse(log[0] ?? "");
      const args = clawpoolArgs(rig.operator.configFile, "audit", "verify", "--head", head);
      const { stdout } = await execa(process.execPath, args);
      assert.match(stdout, /^ok {3}the chain is sound: /);
    });

    it("ends on SIGTERM with exit code 0, and leaves nothing in the cloud or in the tailnet", async () => {
      const { rig, store, customer } = world;
      await world.configure({ releaseGrace: "0s" });
      const running = store.orders({ states: ["running"] });
      assert(running.length > 0);
      const released = running.map(({ id }) => rig.shop.follow(id, ["released"]));
      for (const { subscription } of running) await rig.cloud.stripe.console.cancel(subscription ?? "").sent;
      await Promise.all(released);
      await world.onlyLive([]);
      const { servers } = (await world.hetzner("/servers")).body as { servers: unknown[] };
      assert.deepEqual(servers, []);
      const known = customer.node?.nodeId;
      const devices = (await rig.cloud.tailscale.devices()).filter(({ nodeId }) => nodeId !== known);
      assert.deepEqual(devices, []);
      assert.equal(rig.cloud.hetzner.bill().owedPerHour, 0);
      assert.equal(await rig.daemon.stop(), 0);
    });

    it("has told no secret to any process's arguments or environment, nor to what is left on disk", async () => {
      await assertNothingTold(world);
      await assertProcessesTellNothing(world);
    });
  });
}
