/** Each of the ten invariants is broken on purpose, and seen: at the end, and where it can be at the step that breaks it. */
import { strict as assert } from "node:assert";
import type { OrderId } from "../../pool/machine/machine.ts";
import { ourServers } from "./leftovers.ts";
import { simulate } from "./simulation.ts";
import type { Plot, Story } from "./story.ts";
import { Watch } from "./watch.ts";
import type { SimServer } from "./world.ts";

const minute = 60_000;
/** Every buyer pays, nobody dies, and one machine is left that is nobody's. */
const plot = { buyers: 4, lasts: 3 * minute, kills: [], lost: 0, spell: null, notify: false };

/** A schedule lacks what a test wants to break. */
class AnotherSeed extends Error {}

/** What is reported of the first schedule that has what `tamper` wants, once that happened to everything in order. */
async function reported(tamper: (story: Story) => void, change: Partial<Plot> = {}): Promise<string> {
  for (let seed = 1; seed <= 30; seed++) {
    try {
      const { violations } = await simulate(seed, { ...plot, ...change }, tamper);
      return violations.join("\n");
    } catch (error) {
      if (!(error instanceof AnotherSeed)) throw error;
    }
  }
  assert.fail("none of 30 schedules has what is to be broken");
}

function serving({ world }: Story): SimServer {
  const server = [...world.servers.values()].find(
    ({ machine }) => machine.customer !== null && world.isEntitled(machine.customer),
  );
  if (!server) throw new AnotherSeed("nobody is served in this schedule");
  return server;
}

describe("the invariants of the simulation", function () {
  this.timeout(60_000);

  it("hold where nobody breaks them", async () => {
    assert.equal(await reported(() => {}), "");
  });

  it("I1 sees a customer without a machine", async () => {
    const told = await reported((story) => story.world.servers.delete(serving(story).id));
    assert.match(told, /^I1: ord_\w+ is paid, running, and 0 machines serve it$/m);
  });

  it("I1 sees at once that the order of somebody who pays fails without a word", async () => {
    const told = await reported((story) => {
      const order = serving(story).machine.customer;
      story.store.tamper(
        `DELETE FROM flag; UPDATE orders SET state = 'failed', machine = NULL WHERE id = '${order}'`,
      );
      story.store.audit("daemon", "order.failed", String(order), {
        why: "tampered",
        before: { state: "running" },
        after: { state: "failed" },
      });
    });
    assert.match(told, /^I1: ord_\w+ is paid, fails, and nobody is told$/m);
  });

  it("I2 sees a machine that has seen another customer", async () => {
    const told = await reported((story) => {
      serving(story).machine.customer = "ord_another";
    });
    assert.match(told, /^I2: claw-test-\w+ has seen order ord_another and is a machine of ord_/m);
  });

  it("I2 sees at once that a used machine is offered", async () => {
    const told = await reported(({ store, world }) => {
      const [ready] = store.machines({ states: ["ready"] });
      const server = world.servers.get(ready?.serverId ?? 0);
      if (!ready || !server) throw new AnotherSeed("nothing is ready in this schedule");
      server.machine.customer = "ord_another";
      store.audit("daemon", "machine.ready", ready.name, {
        why: "tampered",
        before: { state: "ready" },
        after: { state: "ready" },
      });
    });
    assert.match(told, /^I2: claw-test-\w+ is offered and has seen order ord_another$/m);
  });

  it("I3 sees a server, a device and a folder that nobody remembers", async () => {
    const told = await reported(({ world }) => {
      const [server] = ourServers(world);
      const [state] = world.states.values();
      assert(server && state);
      world.servers.set(1, { ...server, id: 1, name: "claw-test-orphan" });
      const device = { hostname: "claw-test-device", name: "claw-test-device", addresses: [], tags: [] };
      world.devices.set("n1", { ...device, ephemeral: false, online: true, createdAt: 0 });
      world.states.set("claw-test-folder", state);
    });
    assert.match(told, /^I3: server 1 claw-test-orphan costs money and has no row$/m);
    assert.match(told, /^I3: device claw-test-device is left in the tailnet$/m);
    assert.match(told, /^I3: terraform folder claw-test-folder is left$/m);
  });

  it("I3 sees at once that a server is bought without an intent, and one who pays for nothing", async () => {
    const told = await reported((story) => {
      const { world } = story;
      world.onMade({ ...serving(story), name: "claw-test-unplanned" }, world.clock.now());
      for (const subscription of world.subscriptions.values()) subscription.status = "canceled";
    });
    assert.match(told, /^I3: claw-test-unplanned is bought and has no row$/m);
    assert.match(told, /^I3: ord_\w+ is not paid for/m);
  });

  it("I4 sees a payment that was acknowledged and is lost", async () => {
    const told = await reported((story) => {
      const [session] = story.world.sessions.values();
      assert(session);
      const lost = { ...session, id: "cs_lost", order: "ord_lost" };
      story.world.sessions.set(lost.id, lost);
      story.acknowledged.add(lost.id);
      story.installation.watch.acknowledged(lost);
    });
    assert.match(told, /^I4: ord_lost was acknowledged and is unknown$/m);
    assert.match(told, /^I4: the payment of ord_lost was acknowledged and is not known$/m);
  });

  it("I5 sees that the machine of somebody who pays is deleted", async () => {
    const told = await reported((story) => story.world.onDelete(serving(story)));
    assert.match(told, /^I5: claw-test-\w+ served ord_\w+, which is paid for, and is deleted$/m);
  });

  it("I5 sees that somebody who pays was moved to an empty machine, though all is in order behind it", async () => {
    /** What a wrong verb would do: each row tells of it, and all that follows is as it should be. */
    const move = async ({ store, world }: Story) => {
      while (store.machines({ states: ["serving"] }).length === 0) await world.clock.delay(minute);
      const [machine] = store.machines({ states: ["serving"] });
      assert(machine?.order);
      store.tamper(`UPDATE orders SET state = 'queued', machine = NULL WHERE id = '${machine.order}';
        UPDATE machine SET state = 'releasing' WHERE name = '${machine.name}'`);
      for (const [subject, before, after] of [
        [machine.order, { state: "running", machine: machine.name }, { state: "queued", machine: null }],
        [machine.name, { state: "serving" }, { state: "releasing" }],
      ] as const)
        store.audit("daemon", `tampered.${after.state}`, subject, { why: "tampered", before, after });
    };
    const judged = ({ store }: Story) => {
      const [order] = store.orders();
      if (order?.state !== "running") throw new AnotherSeed("the customer cancelled in this schedule");
      assert.equal(order.machine && store.machine(order.machine)?.state, "serving");
    };
    const told = await reported(judged, { buyers: 1, script: move });
    assert.deepEqual(told.replace(/(claw-test|ord)[-_]\w+/g, "$1").split("\n"), [
      "I5: claw-test served ord, which is paid for, and is releasing",
      "I5: claw-test served ord, which is paid for, and is deleted",
      "I5: claw-test served ord, which is paid for, and is destroyed",
      "I5: claw-test served ord, which had not ended, and was let go",
    ]);
  });

  it("I5 sees it where the store knows nothing any more", async () => {
    const told = await reported((story) => {
      const server = serving(story);
      story.store.rewind(true);
      story.installation.watch = new Watch(story.world, story.store);
      story.world.onDelete(server);
    });
    assert.match(told, /^I5: claw-test-\w+ served ord_\w+, which is paid for, and is deleted$/m);
  });

  it("I5 sees that a grace was cut short", async () => {
    const told = await reported((story) => {
      const { world, installation } = story;
      const server = serving(story);
      const session = [...world.sessions.values()].find(({ order }) => order === server.machine.customer);
      const subscription = world.subscriptions.get(session?.subscription ?? "");
      assert(subscription);
      const over = world.clock.now() - installation.config.releaseGraceMs;
      Object.assign(subscription, { status: "canceled", endedAt: over });
      world.onDelete(server);
      Object.assign(subscription, { endedAt: over + 1 });
      world.onDelete(server);
    });
    const seen = told.match(/^I5: .* is deleted$/gm) ?? [];
    assert.equal(seen.length, 1, "once in time, once a millisecond early");
    assert.match(seen.join(), /, which is in its grace, and is deleted$/);
  });

  it("I5 sees it in the rows, too", async () => {
    const told = await reported(({ store, world }) => {
      const ended = store
        .machines({ states: ["destroyed"] })
        .find(({ order }) => order && store.order(order)?.servingAt);
      const session = [...world.sessions.values()].find(({ order }) => order === ended?.order);
      const subscription = world.subscriptions.get(session?.subscription ?? "");
      if (!subscription) throw new AnotherSeed("nobody cancelled in this schedule");
      subscription.status = "active";
    });
    assert.match(told, /^I5: claw-test-\w+ served ord_\w+, which is paid for, and was destroyed$/m);
  });

  it("I6 sees a secret in the audit log", async () => {
    const told = await reported((story) => {
      const order = serving(story).machine.customer as OrderId;
      const { gatewayToken } = story.store.agentSecrets(order);
      story.store.audit("daemon", "order.told", order, { why: `the token is ${gatewayToken}` });
    });
    assert.match(told, /^I6: audit row \d+ tells the secret /m);
  });

  it("I7 sees more servers than are allowed", async () => {
    const told = await reported(({ world }) => {
      const from = world.clock.now();
      for (let id = 1; id <= world.maxTotal + 1; id++)
        world.bill.push({ id, name: `claw-test-${id}`, from, until: null });
    });
    assert.match(told, /^I7: \d+ servers existed at once, 8 are allowed$/m);
  });

  it("I7 sees what is charged for and not on the bill, or is on it for another time", async () => {
    const told = await reported(({ store, world }) => {
      const [first, second] = store.machines({ states: ["destroyed"] });
      if (!first?.serverId || !second?.serverId) throw new AnotherSeed("few machines went in this schedule");
      const hours = 2 * 60 * minute;
      // As if lists had shown it, too: where they contradict the count, the bill says so itself.
      store.tamper(`DELETE FROM billed WHERE id = ${first.serverId};
        UPDATE billed SET counted_until = counted_until + ${hours}, seen_until = counted_until + ${hours}
          WHERE id = ${second.serverId}`);
      assert(world.bill.some(({ id }) => id === first.serverId));
    });
    assert.match(told, /^I7: server \d+ claw-test-\w+ was charged for and is not on the bill$/m);
    assert.match(told, /^I7: claw-test-\w+ was charged for until \d+, and is on the bill until \d+$/m);
  });

  it("I8 sees a machine whose server is gone, and one that stays behind its deadline", async () => {
    const told = await reported(({ store, world, installation }) => {
      const [ready] = store.machines({ states: ["ready"] });
      if (!ready) throw new AnotherSeed("nothing is ready in this schedule");
      world.servers.delete(ready.serverId ?? 0);
      store.tamper(`UPDATE machine SET deadline = 1 WHERE name = '${ready.name}'`);
      installation.watch.late();
    });
    assert.match(told, /^I8: claw-test-\w+ is ready and its server does not exist$/m);
    assert.match(told, /^I8: claw-test-\w+ is ready \d+ s behind its deadline$/m);
  });

  it("I8 sees what operators and the web app were never told, or were told in two ways", async () => {
    const told = async (tamper: (story: Story) => void) =>
      (await simulate(1, { ...plot, buyers: 1, notify: true }, tamper)).violations.join("\n");
    assert.equal(await told(() => {}), "");
    const of = ({ world }: Story, channel: string) => world.told.filter((one) => one.channel === channel);
    const lose = (channel: string) => (story: Story) => {
      const lost = new Set(of(story, channel));
      story.world.told.splice(0, Infinity, ...story.world.told.filter((one) => !lost.has(one)));
    };
    assert.match(
      await told(lose("product/callback")),
      /^I8: the web app was never told of ord_\w+ 1 awaiting-payment$/m,
    );
    const flag = (story: Story) => story.store.flag("stuck", "m-1", "it is stuck");
    assert.match(await told(flag), /^I8: operators\/mail was never told of stuck m-1$/m);
    const twoWays = (story: Story) => {
      const [first] = of(story, "product/callback");
      assert(first);
      story.world.told.push({ ...first, json: first.json.replace("awaiting-payment", "running") });
    };
    assert.match(await told(twoWays), /^I8: message msg_\w+ came with two texts$/m);
  });

  it("I9 sees a machine that serves and lets its builder in", async () => {
    const told = await reported((story) => {
      serving(story).machine.admin = true;
    });
    assert.match(told, /^I9: claw-test-\w+ serves and still lets its builder in$/m);
  });

  it("I9 sees at once that another order's document took effect", async () => {
    const told = await reported((story) => {
      const server = serving(story);
      server.machine.done = { order: "ord_another", generation: 1 };
      story.store.audit("daemon", "machine.serving", server.name, {
        why: "tampered",
        before: { state: "serving" },
        after: { state: "serving" },
      });
    });
    assert.match(told, /^I9: claw-test-\w+ is order ord_\w+'s and attested for ord_another$/m);
  });

  it("I10 sees a change of state without a row, and a row that was changed", async () => {
    const told = await reported(({ store }) => {
      const [ready] = store.machines({ states: ["ready"] });
      if (!ready) throw new AnotherSeed("nothing is ready in this schedule");
      store.audit("daemon", "machine.retiring", ready.name, {
        why: "tampered",
        before: { state: "claimed" },
        after: { state: "retiring" },
      });
      store.tamper("DROP TRIGGER audit_no_update; UPDATE audit SET why = 'tampered' WHERE seq = 1");
    });
    assert.match(told, /^I10: row \d+: claw-test-\w+ was claimed, and ready in the row before$/m);
    assert.match(told, /^I10: .*row 1 was edited/ms);
  });
});
