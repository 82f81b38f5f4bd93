import { strict as assert } from "node:assert";
import fc from "fast-check";
import { labels, ours } from "../../pool/machine/labels.ts";
import { type Machine, machineName } from "../../pool/machine/machine.ts";
import type { Order } from "../../pool/order/order.ts";
import { injections } from "../order/injections.ts";

/** Hetzner's API description, "Labels": keys and values as Kubernetes has them, at most 63 characters. */
const validKey = /^(?:[a-z0-9.-]{1,253}\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const validValue = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

const machine = { name: machineName("claw-test-abc"), pool: "small-eu" } as Machine;
const text = fc.oneof(
  fc.string({ maxLength: 80 }),
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.stringMatching(/^[A-Za-z0-9._-]{0,70}$/),
  fc.constantFrom("", "cus_1", ...injections, "-a", "a-", "é", "a".repeat(63), "a".repeat(64)),
);
const order = fc.record({
  id: text,
  customer: text,
  agentName: text,
  plan: text,
  region: text,
  stripeCustomer: fc.option(text),
}) as unknown as fc.Arbitrary<Order>;

describe("labels", () => {
  it("are valid at Hetzner whatever the order holds, and never hold what the customer wrote", () => {
    fc.assert(
      fc.property(order, (of) => {
        const made = labels("test", machine, of);
        for (const [key, value] of Object.entries(made)) {
          assert.match(key, validKey);
          assert.match(value, validValue);
        }
        const known = ["managed-by", "clawpool-instance", "clawpool-pool", "clawpool-machine"];
        const more = Object.keys(made).filter((key) => !known.includes(key));
        assert.ok(more.every((key) => key === "clawpool-order" || key === "stripe-customer"));
        if (more.includes("clawpool-order")) assert.equal(made["clawpool-order"], of.id);
        if (more.includes("stripe-customer")) assert.equal(made["stripe-customer"], of.stripeCustomer);
      }),
      { numRuns: 2_000 },
    );
    const usual = labels("test", machine, { id: "ord_abc234", stripeCustomer: "cus_1" } as unknown as Order);
    assert.equal(usual["clawpool-order"], "ord_abc234");
    assert.equal(usual["stripe-customer"], "cus_1");
  });

  it("say whose a machine is once it has an order, and no earlier", () => {
    const own = {
      "managed-by": "clawpool",
      "clawpool-instance": "test",
      "clawpool-pool": "small-eu",
      "clawpool-machine": "claw-test-abc",
    };
    assert.deepEqual(labels("test", machine, null), own);
    const paid = { id: "ord_abc", stripeCustomer: "cus_1" } as Order;
    assert.deepEqual(labels("test", machine, paid), {
      ...own,
      "clawpool-order": "ord_abc",
      "stripe-customer": "cus_1",
    });
  });

  it("are found by the selector of the installation", () => {
    const made = labels("test", machine, null);
    for (const term of ours("test").split(",")) {
      const [key = "", value] = term.split("=");
      assert.equal(made[key], value);
    }
  });
});
