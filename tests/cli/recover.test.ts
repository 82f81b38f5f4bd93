import { strict as assert } from "node:assert";
import type { Controller } from "../../pool/controller.ts";
import { noteFindings, recoveryStatus } from "../../pool/recovery/findings.ts";
import { release } from "../../pool/recovery/release.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { type AnsweredRig, answeredRig } from "./rig.ts";

describe("clawpool recover release", () => {
  let rig: AnsweredRig;
  let life: Life;

  beforeEach(async () => {
    life = startLife();
    const { store, clock } = life;
    const name = makeReady(store, "m-1");
    store.createOrder(newOrder("o-1"));
    pay(store, "o-1");
    store.enterQuarantine("a backup was restored");
    noteFindings(store, [{ machine: name, sure: false, text: "it does not answer" }], clock.now());
    const recovery = {
      status: () => recoveryStatus(store),
      look: async () => recoveryStatus(store),
      release: (request) => release({ store, config: () => life.config, clock }, request),
    } satisfies Controller["recovery"];
    rig = await answeredRig({ store, recovery });
  });
  afterEach(async () => {
    await rig.hangUp();
    life.store.close();
    rig.remove();
  });

  it("takes a person's word that a machine serves, once", async () => {
    const { stdout } = await rig.run("recover", "release", "--machine", "m-1", "--serves");
    assert.equal(stdout, "m-1: goes on, serving\nThe quarantine is over.");
    assert.equal(life.store.machine("m-1" as never)?.state, "serving");
    const again = await rig.run("recover", "release", "--machine", "m-1", "--serves");
    assert.notEqual(again.exitCode, 0);
    assert.match(again.stderr, /m-1 is not held/);
  });

  it("wants a name for what it says of one machine, and one word of it; nothing is released", async () => {
    for (const [args, told] of [
      [["--all", "--serves"], /--machine NAME/],
      [["--all", "--retire"], /--machine NAME/],
      [["--machine", "m-1", "--serves", "--retire"], /not both/],
      [["--machine", "m-1", "--retire"], /m-1 is bound to order o-1/],
    ] as const) {
      const { exitCode, stderr } = await rig.run("recover", "release", ...args);
      assert.notEqual(exitCode, 0);
      assert.match(stderr, told);
    }
    assert.ok(life.store.machine("m-1" as never)?.held);
  });
});
