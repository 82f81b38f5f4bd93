/** Heartbeats of machines that serve: what is seen, what is repaired, who is told; on fakes, by a virtual clock. */
import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import type { Loop } from "../../pool/loop.ts";
import type { Asker } from "../../pool/machine/ask.ts";
import { diagnose } from "../../pool/machine/diagnose.ts";
import type { HealthReply } from "../../pool/machine/hand-over-session.ts";
import { createHeartbeats } from "../../pool/machine/heartbeat.ts";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import type { TailnetDevice } from "../../pool/tailnet/tailnet.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { settled } from "../virtual-clock.ts";
import { type Life, startLife } from "./fakes.ts";

const minute = 60_000;
const good: HealthReply = {
  ...{ type: "health", unit: "active", gateway: true, tailnet: "Running", relay: true, version: "1" },
  handedOver: null,
};
const device = (nodeId: string, change: Partial<TailnetDevice> = {}): TailnetDevice => ({
  ...{ nodeId, hostname: nodeId, name: nodeId, addresses: ["100.64.0.1"], tags: ["tag:claw-vm"] },
  ...{ authorized: true, connectedToControl: true, createdAt: null },
  ...change,
});
const unreachable = new BorderError("timed out", { border: "ssh", kind: "transient", code: "timeout" });

describe("a heartbeat's diagnosis", () => {
  type Case = [string, Partial<HealthReply>, TailnetDevice | null | undefined, string, string | null];
  const cases: Case[] = [
    ["all is well", {}, device("n"), "healthy", null],
    ["Tailscale's API was not asked", {}, undefined, "healthy", null],
    ["there is no Tailscale", { tailnet: "absent" }, undefined, "healthy", null],
    ["the unit failed", { unit: "failed", gateway: false }, device("n"), "degraded", "gateway"],
    ["the gateway hangs", { gateway: false }, device("n"), "degraded", "gateway"],
    ["the customer stopped the unit", { unit: "inactive", gateway: false }, device("n"), "stopped", null],
    ["the customer switched Tailscale off", { tailnet: "Stopped" }, device("n"), "stopped", null],
    [
      "tailscaled is dead",
      { tailnet: "unreachable", tailscaled: "failed" },
      device("n"),
      "degraded",
      "tailscaled",
    ],
    [
      "an older program says that it is dead",
      { tailnet: "unreachable" },
      device("n"),
      "degraded",
      "tailscaled",
    ],
    [
      "the customer stopped tailscaled",
      { tailnet: "unreachable", tailscaled: "inactive" },
      device("n"),
      "stopped",
      null,
    ],
    ["Tailscale is logged out", { tailnet: "NeedsLogin" }, device("n"), "degraded", null],
    ["no relay is known", { relay: false }, device("n"), "degraded", null],
    ["the device is gone", {}, null, "degraded", null],
    ["Tailscale does not see it", {}, device("n", { connectedToControl: false }), "degraded", null],
  ];
  for (const [what, reply, seen, state, repair] of cases) {
    it(`is ${state} when ${what}`, () => {
      const diagnosis = diagnose({ ...good, ...reply }, seen);
      assert.deepEqual([diagnosis.state, diagnosis.repair], [state, repair]);
      assert.equal(diagnosis.reason === null, state === "healthy");
    });
  }
});

describe("heartbeats", () => {
  let life: Life;
  let loop: Loop;
  let asked: string[];
  let restarted: string[];
  let listed: number;
  let answers: Map<string, Partial<HealthReply> | Error>;
  let repaired: boolean[];
  let flying: number;
  let most: number;
  const secrets = {
    controllerKey: generateKeyPair().privateKey.expose(),
    bootHostKey: "b",
    poolToken: "p",
  };

  const asker: Asker = {
    async ask(name, _target, question) {
      const { op } = question;
      asked.push(`${op} ${name}`);
      if (question.op === "repair") restarted.push(question.unit ?? "gateway");
      most = Math.max(most, ++flying);
      await life.clock.delay(50);
      flying -= 1;
      const answer = answers.get(name) ?? {};
      if (answer instanceof Error) throw answer;
      if (op === "repair" && answers.get(`after ${name}`)) answers.delete(name);
      return { ...good, ...(answers.get(name) as object) };
    },
    drop: (name) => asked.push(`drop ${name}`),
    close: () => {},
  };
  const serve = (text: string): MachineName => {
    const name = makeReady(life.store, text, { secrets });
    life.store.createOrder(newOrder(`o-${text}`));
    pay(life.store, `o-${text}`);
    life.store.changeMachine(name, "claimed", { state: "handing-over" }, "test");
    life.store.recordServing(name, { tailnetNode: `node-${text}`, tailnetAddress: "100.64.0.1" });
    life.tailnet.known.set(`node-${text}`, device(`node-${text}`));
    return name;
  };
  const state = (name: MachineName) =>
    life.store.healths().find(({ machine }) => machine === name)?.state ?? "healthy";
  const flags = () => life.store.flags().map(({ kind }) => kind);
  const told = (name: string) =>
    life.store
      .orderEvents(`o-${name}` as OrderId, 0)
      .filter(({ type }) => type === "health")
      .map(({ data }) => data.state);
  const repairs = () => asked.filter((call) => call.startsWith("repair")).length;
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += minute / 4) await life.clock.advance(minute / 4);
  };

  beforeEach(() => {
    life = startLife();
    [asked, restarted, answers, repaired, listed, flying, most] = [[], [], new Map(), [], 0, 0, 0];
    const list = life.tailnet.devices.bind(life.tailnet);
    life.tailnet.devices = async () => {
      listed += 1;
      return list();
    };
    loop = createHeartbeats({ context: life.context, asker, onRepair: (ok) => repaired.push(ok) });
  });
  afterEach(async () => {
    const stopping = loop.stop({ abort: true });
    await life.clock.advance(minute);
    await stopping;
    await settled();
    life.store.close();
  });

  it("ask each machine about once a minute, spread out, a bounded number at once, Tailscale once for all", async () => {
    life.config = { ...life.config, serving: { ...life.config.serving, parallel: 3 } };
    for (let count = 0; count < 40; count++) serve(`claw-test-n${count}`);
    loop.start();
    await pass(minute);
    asked.length = 0;
    listed = 0;
    await pass(10 * minute);
    assert.ok(asked.length >= 40 * 9 && asked.length <= 40 * 12, `${asked.length}`);
    assert.ok(most <= 3, `${most} at once`);
    assert.ok(listed <= 21, `${listed} lists in ten minutes`);
    assert.deepEqual(life.store.healths(), []);
    assert.deepEqual(flags(), []);
  });

  it("need two looks in a row to say that a gateway is down, then restart it, and say when it is over", async () => {
    const name = serve("claw-test-one");
    loop.start();
    await pass(2 * minute);
    answers.set(name, { unit: "failed", gateway: false });
    for (let beat = asked.length; asked.length === beat; ) await life.clock.advance(1_000);
    await settled();
    assert.equal(state(name), "healthy");
    assert.equal(repairs(), 0);
    answers.set(`after ${name}`, {});
    await pass(2 * minute);
    assert.deepEqual(repaired, [true]);
    assert.equal(state(name), "healthy");
    assert.deepEqual(flags(), []);
    const actions = life.store.auditRows({ subject: name }).map(({ action }) => action);
    assert.deepEqual(actions.slice(-5), [
      "machine.degraded",
      "flag.unhealthy",
      "machine.repaired",
      "machine.healthy",
      "flag.unhealthy.cleared",
    ]);
    assert.deepEqual(told("claw-test-one"), [], "five minutes are not over");
  });

  it("restart tailscaled when that is what does not answer, and the gateway first when both are down", async () => {
    const name = serve("claw-test-one");
    loop.start();
    await pass(2 * minute);
    answers.set(name, { unit: "failed", gateway: false, tailnet: "unreachable", tailscaled: "failed" });
    await pass(3 * minute);
    answers.set(name, { tailnet: "unreachable", tailscaled: "failed" });
    await pass(4 * minute);
    assert.deepEqual(restarted, ["gateway", "tailscaled"]);
    assert.deepEqual(repaired, [false, false]);
    const rows = life.store
      .auditRows({ subject: name })
      .filter(({ action }) => action === "machine.repaired");
    assert.deepEqual(
      rows.map(({ detail }) => [detail.unit, detail.error]),
      [
        ["gateway", "gateway does not answer after its restart"],
        ["tailscaled", "tailscaled does not answer after its restart"],
      ],
    );
  });

  it("restart three times an hour at most, with pauses that grow, and tell operator and customer once", async () => {
    const name = serve("claw-test-one");
    answers.set(name, { gateway: false });
    loop.start();
    await pass(50 * minute);
    assert.equal(repairs(), 3);
    assert.deepEqual(repaired, [false, false, false]);
    const times = life.store.healths()[0]?.repairs ?? [];
    const [first = 0, second = 0, third = 0] = times;
    assert.ok(second - first >= 2 * minute && third - second >= 4 * minute);
    assert.deepEqual(flags(), ["unhealthy"]);
    assert.deepEqual(told("claw-test-one"), ["degraded"]);
    await pass(15 * minute);
    assert.equal(repairs(), 4, "an hour later again");
    answers.clear();
    await pass(2 * minute);
    assert.deepEqual(told("claw-test-one"), ["degraded", "healthy"]);
    assert.deepEqual(flags(), []);
    assert.equal(life.store.machine(name)?.state, "serving");
  });

  it("leave alone what was switched off on purpose, and tell nobody but the status", async () => {
    const name = serve("claw-test-one");
    answers.set(name, { unit: "inactive", gateway: false });
    loop.start();
    await pass(30 * minute);
    assert.equal(state(name), "stopped");
    assert.equal(repairs(), 0);
    assert.deepEqual([flags(), told("claw-test-one")], [[], []]);
  });

  it("tell of a machine that does not answer, and never do more about it", async () => {
    const [name] = [serve("claw-test-one"), serve("claw-test-two"), serve("claw-test-three")];
    answers.set(name, unreachable);
    loop.start();
    await pass(20 * minute);
    assert.equal(state(name), "unreachable");
    assert.equal(repairs(), 0);
    assert.deepEqual(flags(), ["unhealthy"]);
    assert.deepEqual(told("claw-test-one"), ["unreachable"]);
    assert.equal(life.store.machine(name)?.state, "serving");
  });

  it("tell once of trouble whose kind changes all the time, since it began", async () => {
    const name = serve("claw-test-one");
    loop.start();
    await pass(2 * minute);
    const began = life.clock.now();
    for (let passed = 0; passed < 120 * minute; passed += 6 * minute) {
      answers.set(name, { tailnet: "NeedsLogin" });
      await pass(3 * minute);
      answers.set(name, unreachable);
      await pass(3 * minute);
    }
    const rows = (action: string) =>
      life.store.auditRows({ subject: name }).filter((row) => row.action === action).length;
    assert.ok(rows("machine.unreachable") >= 19, "it was seen in turns");
    assert.equal(told("claw-test-one").length, 1);
    const event = life.store
      .orderEvents("o-claw-test-one" as OrderId, 0)
      .find(({ type }) => type === "health");
    assert.ok(Number(event?.at) - began <= 9 * minute, "two beats, five minutes, and a beat");
    assert.ok(Date.parse(String(event?.data.since)) - began <= 3 * minute);
    assert.equal(rows("flag.unhealthy"), 1);
    answers.clear();
    await pass(2 * minute);
    assert.equal(told("claw-test-one").at(-1), "healthy");
    assert.deepEqual([told("claw-test-one").length, flags()], [2, []]);
  });

  it("begin to count anew behind a time in which it was switched off on purpose", async () => {
    const name = serve("claw-test-one");
    loop.start();
    await pass(2 * minute);
    for (const answer of [{ tailnet: "NeedsLogin" }, { unit: "inactive", gateway: false }, unreachable]) {
      answers.set(name, answer);
      await pass(4 * minute);
    }
    assert.equal(state(name), "unreachable");
    assert.deepEqual(told("claw-test-one"), []);
    await pass(4 * minute);
    assert.deepEqual(told("claw-test-one"), ["unreachable"]);
  });

  it("judge none when most do not answer at once: that is our own network", async () => {
    const names = [serve("claw-test-one"), serve("claw-test-two"), serve("claw-test-three")];
    loop.start();
    await pass(2 * minute);
    for (const name of names) answers.set(name, unreachable);
    await pass(20 * minute);
    assert.deepEqual(flags(), ["serving-unreachable"]);
    assert.ok(names.every((name) => state(name) === "healthy"));
    assert.deepEqual(told("claw-test-one"), []);
    answers.clear();
    await pass(3 * minute);
    assert.deepEqual(flags(), []);
  });

  it("say nothing of machines when Tailscale's API does not answer, and something when a device is gone", async () => {
    const name = serve("claw-test-one");
    const failing = async () => {
      throw new BorderError("503", { border: "tailnet", kind: "transient" });
    };
    const works = life.tailnet.devices;
    life.tailnet.devices = failing;
    loop.start();
    await pass(10 * minute);
    assert.equal(state(name), "healthy");
    life.tailnet.devices = works;
    life.tailnet.known.clear();
    await pass(5 * minute);
    assert.equal(state(name), "degraded");
    assert.equal(repairs(), 0, "a restart would not bring it back");
  });

  it("forget a machine that no longer serves, with its flag and its connection", async () => {
    const name = serve("claw-test-one");
    answers.set(name, { gateway: false });
    loop.start();
    await pass(5 * minute);
    assert.deepEqual(flags(), ["unhealthy"]);
    const end = { subscription: "sub_o-claw-test-one", releaseAt: life.clock.now(), reason: "ended" };
    life.store.endSubscription(null, end);
    life.store.releaseOrder("o-claw-test-one" as OrderId, "ended");
    await pass(2 * minute);
    assert.deepEqual([flags(), life.store.healths()], [[], []]);
    assert.ok(asked.includes(`drop ${name}`));
    const count = asked.length;
    await pass(3 * minute);
    assert.equal(asked.length, count);
  });
});
