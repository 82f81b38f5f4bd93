/**
 * Faults that take longer than a test may, or that no real part can have on command: lost webhooks and sieges of buyers,
 * servers that vanish, lists that lie, clocks that jump, SIGKILLs at every step. All under simulation.
 */
import { strict as assert } from "node:assert";
import type { Order } from "../../pool/order/order.ts";
import type { SimSubscription } from "../sim/world.ts";
import { onParts, simulated } from "./fault.ts";
import { hour, minute, play, type Scene, second } from "./scene.ts";

const completed = "checkout.session.completed";
const deleted = "customer.subscription.deleted";

describe("faults: Stripe, under simulation", function () {
  this.timeout(120_000);

  simulated("S16", "a payment that nobody told of is served within 15 minutes and a build", async (scene) => {
    await scene.ready(2);
    const order = await scene.order("s16");
    scene.pays(order);
    await scene.until("it is known", () => scene.store.order(order.id)?.paidAt != null, 15 * minute);
    await scene.reached(order, "running");
  });

  simulated(
    "S21",
    "500 payments in ten seconds with five warm machines: five are served, the rest queue in order",
    async (scene) => {
      scene.configure({ minReady: 5, maxTotal: 8 });
      await scene.ready(5);
      const orders: Order[] = [];
      for (let i = 0; i < 500; i++) orders.push(await scene.order(`s21-${i}`));
      for (const order of orders) {
        scene.pays(order);
        assert(await scene.tell(order, completed));
        await scene.wait(20);
      }
      await scene.until("five are served", () => scene.store.orders({ states: ["running"] }).length >= 5);
      const paid = orders.map(({ id }) => scene.store.order(id)?.paidAt ?? 0);
      assert.deepEqual(
        paid,
        [...paid].sort((a, b) => a - b),
      );
      const served = orders.filter(({ id }) => scene.store.order(id)?.machine !== null);
      assert.deepEqual(served, orders.slice(0, served.length), "somebody jumped the queue");
      assert(scene.store.machines({ live: true }).length <= 8);
      // Whoever waits too long goes away; else this would need 500 machines.
      for (const order of orders.slice(6)) {
        scene.cancels(order);
        await scene.tell(order, deleted);
      }
    },
  );
});

describe("faults: what becomes of a subscription, under simulation", function () {
  this.timeout(120_000);

  /** What Stripe says of it from now on; found by the comparison at the latest. */
  async function turns(
    scene: Scene,
    order: Order,
    change: Partial<SimSubscription>,
    wanted: Order["state"],
  ): Promise<void> {
    const { subscription } = scene.sessionOf(order);
    const found = scene.world.subscriptions.get(subscription ?? "") ?? assert.fail();
    Object.assign(found, change);
    await scene.until(
      `${wanted} after ${JSON.stringify(change)}`,
      () => scene.store.order(order.id)?.state === wanted,
    );
  }

  simulated("S19", "paused and unpaid: switched off and kept, and on again", async (scene) => {
    await scene.ready(2);
    const order = await scene.serve("s19");
    const { id } = scene.serverOf(order);
    await turns(scene, order, { status: "paused" }, "suspended");
    await turns(scene, order, { status: "active" }, "running");
    await scene.wait(hour);
    await turns(scene, order, { status: "unpaid" }, "suspended");
    await turns(scene, order, { status: "active" }, "running");
    assert.equal(scene.serverOf(order).id, id, "another server");
  });

  simulated("S20", "a dispute switches off, and on again when it is won", async (scene) => {
    await scene.ready(2);
    const order = await scene.serve("s20");
    await turns(scene, order, { dispute: "needs_response" }, "suspended");
    await scene.wait(hour);
    await turns(scene, order, { dispute: "won" }, "running");
  });
});

describe("faults: Hetzner, under simulation", function () {
  this.timeout(60_000);

  simulated(
    "H5",
    "a warm server that vanished is replaced; a customer's is a person's matter",
    async (scene) => {
      await scene.ready(2);
      const order = await scene.serve("h5");
      const [warm] = scene.machines("ready");
      assert(warm?.serverId);
      const gone = (id: number) => {
        scene.world.servers.delete(id);
        for (const line of scene.world.bill) if (line.id === id) line.until = scene.world.clock.now();
      };
      gone(warm.serverId);
      await scene.until("it is replaced", () => scene.store.machine(warm.name)?.state === "destroyed");
      const { name, serverId } = scene.machineOf(order);
      gone(serverId ?? 0);
      await scene.until("a person is told", () => scene.flags("server-vanished").length > 0);
      await scene.wait(hour);
      assert.equal(scene.machineOf(order).name, name, "it was replaced by an empty one");
      scene.cancels(order);
      await scene.tell(order, deleted);
      await scene.reached(order, "released");
    },
  );

  simulated("H6", "a list that is empty, short or another project's ends nothing", async (scene) => {
    await scene.ready(2);
    const order = await scene.serve("h6");
    await scene.ready(2);
    const before = scene.store.machines({ live: true }).map(({ name }) => name);
    for (const lie of [
      () => [],
      (all: readonly unknown[]) => all.slice(0, 1),
      () => {
        throw new Error("403 forbidden");
      },
    ]) {
      scene.world.listing = lie as typeof scene.world.listing;
      await scene.wait(20 * minute);
    }
    scene.world.listing = (all) => all;
    assert.deepEqual(
      scene.store.machines({ live: true }).map(({ name }) => name),
      before,
    );
    assert.equal(scene.store.order(order.id)?.state, "running");
  });

  for (const skew of [-2 * hour, 2 * hour]) {
    simulated(
      "H10",
      `Hetzner's clock is off by ${skew / hour} h, and nothing expires or lives on`,
      async (scene) => {
        scene.world.skewMs = skew;
        await scene.ready(2);
        const order = await scene.serve("h10");
        await scene.wait(hour);
        assert.equal(scene.store.order(order.id)?.state, "running");
        assert.equal(scene.world.bill.length, 3);
      },
    );
  }
});

describe("faults: the process, under simulation", function () {
  this.timeout(300_000);

  onParts("P1", "killed at any step of a whole life, everything comes to rest", async () => {
    const life = async (scene: Scene) => {
      await scene.ready(2);
      const order = await scene.order("p1");
      scene.pays(order);
      for (let tries = 0; (await scene.tell(order, completed, "evt_p1")) === null; tries++) {
        assert(tries < 400);
        await scene.wait(5 * second);
      }
      await scene.reached(order, "running");
      scene.cancels(order);
      while ((await scene.tell(order, deleted, "evt_p1_end")) === null) await scene.wait(5 * second);
      await scene.reached(order, "released");
    };
    const { points } = await play(life);
    const step = Math.ceil(points / 40);
    for (let point = 1; point <= points; point += step) {
      const { trace } = await play(life, { kills: [point] });
      assert(
        trace.some((line) => line.endsWith(`killed at point ${point}`)),
        `not killed at ${point} of ${points}`,
      );
    }
  });

  for (const jump of [-hour, hour]) {
    simulated(
      "P4",
      `the clock jumps by ${jump / hour} h, and nothing is lost or expires in masses`,
      async (scene) => {
        await scene.ready(2);
        const order = await scene.serve("p4");
        await scene.ready(2);
        const before = scene.world.bill.length;
        const { clock } = scene.world;
        const now = clock.now.bind(clock);
        // The wall clock alone: what waits goes by another.
        clock.now = () => now() + jump;
        // A machine that runs goes on running.
        for (const server of scene.world.servers.values()) Object.assign(server, { bootedAt: 0 });
        await scene.wait(10 * minute);
        assert.equal(scene.store.order(order.id)?.state, "running");
        assert.equal(scene.world.bill.length, before);
        await scene.serve("p4-later");
      },
    );
  }

  simulated(
    "N4",
    "nobody who is told anything is there for a day: customers are served all the same, and then all is told",
    async (scene) => {
      const { world } = scene;
      await scene.ready(2);
      world.isUnreachable = true;
      world.told.length = 0;
      await scene.serve("n4");
      await scene.wait(12 * hour);
      world.refused = "sold-out";
      await scene.serve("n4-later");
      await scene.until("operators are to be told", () => scene.flags("out-of-stock").length > 0);
      world.refused = null;
      await scene.until("it is over", () => scene.flags("out-of-stock").length === 0);
      await scene.wait(12 * hour);
      assert.equal(scene.flags("undelivered").length, 3);
      assert.deepEqual(world.told, []);
      await scene.ready(2);
      world.isUnreachable = false;
      await scene.until("they hear again", () => world.told.length > 0, hour);
      // That each was told everything is judged at the end of every schedule (tests/sim/telling.ts).
    },
    { lasts: 27 * hour, notify: true },
  );
});
