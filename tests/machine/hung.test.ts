/** What hangs (SSH, terraform, a call's answer) holds up nothing but itself, and not even that beyond its deadline. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import { createLoop, type Loop } from "../../pool/loop.ts";
import { reconcile } from "../../pool/machine/lifecycle.ts";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { caps, makeReady, newMachine, newOrder, pay } from "../store/rows.ts";
import { settled } from "../virtual-clock.ts";
import { type Life, startLife, stateOf } from "./fakes.ts";

const second = 1_000;
const secrets = {
  controllerKey: generateKeyPair().privateKey.expose(),
  bootHostKey: generateKeyPair().privateKey.expose(),
  poolToken: "pool-token-of-the-machine",
};
const never = <T>() => new Promise<T>(() => {});

describe("what hangs", () => {
  let life: Life;
  let loop: Loop;
  const row = (name: string) => life.store.machine(name as MachineName) ?? assert.fail();
  const order = (id: string) => life.store.order(id as OrderId) ?? assert.fail();

  function warm(name: string): MachineName {
    const made = makeReady(life.store, name, { secrets });
    const { id } = life.cloud.put(name);
    life.store.changeMachine(made, "ready", { deadline: null, serverId: id }, "test");
    life.terraform.states.set(name, stateOf(id));
    return made;
  }
  function planned(name: string): MachineName {
    const deadline = life.clock.now() + life.config.deadlines.creatingMs;
    return life.store.planMachine(newMachine(name, { secrets, deadline }), caps)?.name ?? assert.fail();
  }
  function buy(id: string): void {
    life.store.createOrder(newOrder(id));
    pay(life.store, id);
  }

  beforeEach(() => {
    life = startLife();
    loop = createLoop({
      clock: life.clock,
      log: pino({ level: "silent" }),
      live: () => life.store.machines({ live: true }),
      reconcile: (name, signal) => reconcile(name, life.context, signal),
      maxParallelBuilds: () => 1,
      afterRound: () => {
        for (const name of life.poked.splice(0)) loop.poke(name);
      },
    });
  });
  afterEach(async () => {
    const stopped = loop.stop({ abort: true });
    await life.clock.advance(3_600 * second);
    await stopped;
    life.store.close();
  });

  it("at a hand-over costs the customer its deadline: the next machine serves, and a late word changes nothing", async () => {
    const first = warm("claw-test-one");
    buy("o-1");
    const other = warm("claw-test-two");
    const word = Promise.withResolvers<void>();
    life.armed.hangs = (name) => (name === first ? word.promise : null);
    buy("o-2");
    assert.equal(order("o-2").machine, other);
    loop.start();
    await life.clock.advance(5 * second);
    assert.equal(order("o-2").state, "running", "another customer's is not held up");
    const third = warm("claw-test-three");
    await life.clock.advance(life.config.deadlines.handingOverMs - 6 * second);
    assert.equal(row(first).state, "handing-over");
    await life.clock.advance(2 * second);
    assert.deepEqual([order("o-1").state, order("o-1").machine], ["running", third]);
    assert.notEqual(row(first).state, "serving");
    const [attempt] = life.store.attempts("o-1" as OrderId);
    assert.match(attempt?.reason ?? "", /^hung while handing-over$/);
    word.resolve();
    await settled();
    assert.deepEqual([order("o-1").state, order("o-1").machine], ["running", third]);
    assert.equal(row(third).state, "serving");
  });

  it("in terraform gives its place to the next build at its deadline, and a person is told", async () => {
    const hung = planned("claw-test-one");
    life.terraform.hangs = (name) => (name === hung ? never() : null);
    life.terraform.onApply = ({ name }) => life.terraform.states.set(name, stateOf(life.cloud.put(name).id));
    loop.start();
    await life.clock.advance(second);
    const next = planned("claw-test-two");
    const sold = warm("claw-test-three");
    buy("o-1");
    await life.clock.advance(5 * second);
    assert.deepEqual([row(hung).state, row(next).state], ["creating", "creating"], "one build at a time");
    assert.deepEqual(
      [order("o-1").state, row(sold).state],
      ["running", "serving"],
      "orders do not wait for builds",
    );
    await life.clock.advance(life.config.deadlines.creatingMs + 15 * second);
    assert.ok(["failed", "retiring", "destroyed"].includes(row(hung).state), row(hung).state);
    assert.ok(!["planned", "creating"].includes(row(next).state), row(next).state);
    assert.match(row(hung).reason ?? "", /^hung while creating$/);
    assert.ok(life.store.auditRows({ subject: hung }).some(({ action }) => action === "flag.stuck"));
  });
});
