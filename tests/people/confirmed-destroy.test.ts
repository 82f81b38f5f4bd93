/** `clawpool destroy`: what a person's word can do to a machine, and what it takes when a customer uses it. */
import { strict as assert } from "node:assert";
import type { Loop } from "../../pool/loop.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import {
  createDestroyByName,
  type DestroyByName,
  DestroyRefusedError,
} from "../../pool/people/confirmed-destroy.ts";
import { BusyError } from "../../pool/people/people.ts";
import { type AnsweredRig, answeredRig } from "../cli/rig.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { failure, limits, makeReady, newOrder, pay } from "../store/rows.ts";

describe("destroying a machine by name", () => {
  let life: Life;
  let destroy: DestroyByName;
  const flying = new Set<string>();
  let held = 0;
  const ada = { actor: "person:ada" };
  const sold = "claw-sold" as MachineName;
  const warm = "claw-warm" as MachineName;
  const state = (name: MachineName) => life.store.machine(name)?.state;
  const refusals = () => life.store.auditRows().filter(({ action }) => action === "machine.destroy-refused");

  beforeEach(() => {
    life = startLife();
    flying.clear();
    held = 0;
    const loop = {
      hold(name: MachineName) {
        if (flying.has(name)) return null;
        held += 1;
        return () => {
          held -= 1;
        };
      },
    } as unknown as Loop;
    destroy = createDestroyByName({ store: life.store, loop });
    makeReady(life.store, sold);
    life.store.createOrder(newOrder("o-1"));
    pay(life.store, "o-1");
    life.store.changeMachine(sold, "claimed", { state: "handing-over" }, "test");
    life.store.recordServing(sold, { tailnetNode: null, tailnetAddress: null });
    makeReady(life.store, warm);
  });
  afterEach(() => {
    assert.equal(held, 0, "a lock was left");
    life.store.close();
  });

  it("takes one without an order at once", () => {
    assert.deepEqual(destroy(warm, null, ada), { machine: warm, order: null, subscription: null });
    assert.equal(state(warm), "retiring");
    const row = life.store.auditRows({ subject: warm }).at(-1);
    assert.deepEqual([row?.actor, row?.action], ["person:ada", "machine.retiring"]);
  });

  it("refuses a customer's unless its name is given twice, says what would be lost, and leaves a row", () => {
    for (const confirm of [null, warm, sold.toUpperCase(), "yes"]) {
      assert.throws(
        () => destroy(sold, confirm, ada),
        (error) =>
          error instanceof DestroyRefusedError &&
          /serving for order o-1 of customer .* \(subscription sub_o-1\).*--confirm claw-sold/.test(
            error.message,
          ),
      );
    }
    assert.equal(state(sold), "serving");
    assert.deepEqual(
      refusals().map(({ actor, subject }) => [actor, subject]),
      Array(4).fill(["person:ada", sold]),
    );
  });

  it("takes a customer's when it is confirmed by name: the order ends, and who said so is on record", () => {
    assert.deepEqual(destroy(sold, sold, ada), { machine: sold, order: "o-1", subscription: "sub_o-1" });
    assert.equal(state(sold), "releasing");
    assert.equal(life.store.order("o-1" as never)?.state, "releasing");
    assert.equal(life.store.machine(sold)?.endConfirmedBy, "person:ada");
    const rows = life.store.auditRows().filter(({ actor }) => actor === "person:ada");
    assert.deepEqual(
      rows.map(({ action }) => action),
      ["machine.changed", "machine.releasing", "order.releasing"],
    );
  });

  it("takes one on which a hand-over failed without a second word: the order is another machine's", () => {
    makeReady(life.store, "claw-next");
    life.store.createOrder(newOrder("o-2"));
    pay(life.store, "o-2");
    const first = life.store.order("o-2" as never)?.machine ?? assert.fail();
    life.store.recordHandOverFailure(first, failure, limits);
    destroy(first, null, ada);
    assert.equal(state(first), "releasing");
  });

  it("leaves a machine alone that goes already, is worked on now, or is not there", () => {
    life.store.changeMachine(warm, "ready", { state: "retiring" }, "test");
    assert.throws(() => destroy(warm, warm, ada), /is retiring already/);
    assert.throws(() => destroy("claw-none", null, ada), /no machine is named claw-none/);
    flying.add(sold);
    assert.throws(() => destroy(sold, sold, ada), BusyError);
    assert.equal(state(sold), "serving");
  });

  describe("by command", () => {
    let rig: AnsweredRig;
    beforeEach(async () => {
      rig = await answeredRig({ store: life.store, destroyByName: destroy });
    });
    afterEach(async () => {
      await rig.hangUp();
      rig.remove();
    });

    it("says what it needs, does it, and that Stripe goes on charging", async () => {
      const refused = await rig.run("destroy", sold);
      assert.equal(refused.exitCode, 1);
      assert.match(refused.stderr, /clawpool destroy claw-sold --confirm claw-sold/);
      assert.equal(state(sold), "serving");
      flying.add(sold);
      assert.match(
        (await rig.run("destroy", sold, "--confirm", sold)).stderr,
        /is worked on now \(serving\)/,
      );
      flying.clear();
      const done = await rig.run("destroy", sold, "--confirm", sold);
      assert.equal(done.exitCode, 0, done.stderr);
      assert.match(
        done.stdout,
        /Order o-1 ends with it\. Stripe goes on charging for sub_o-1: cancel it there\./,
      );
      assert.equal(state(sold), "releasing");
      assert.match(life.store.machine(sold)?.endConfirmedBy ?? "", /^person:./);
    });
  });
});
