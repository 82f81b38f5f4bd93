import { strict as assert } from "node:assert";
import { changedKeys, comparable, configChange } from "../../pool/config/changes.ts";
import { parseSource } from "../../pool/config/load.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { env, example } from "./example.ts";

describe("what is another in a configuration", () => {
  const file = (change: (text: string) => string = (text) => text) =>
    parseSource(change(example), "clawpool.yaml", env).file;

  it("is nothing between two readings of one file", () => {
    assert.deepEqual(configChange(file(), file()), { before: {}, after: {} });
  });

  it("goes by the keys as they are written", () => {
    const five = file((text) => text.replace("min_ready: 3", "min_ready: 5"));
    assert.deepEqual(configChange(file(), five), {
      before: { "pools.small-eu.min_ready": 3 },
      after: { "pools.small-eu.min_ready": 5 },
    });
  });

  it("is nothing when a default is written out", () => {
    const written = file((text) => text.replace("min_ready: 3", "min_ready: 3\n    max_age: 14d"));
    assert.deepEqual(changedKeys(configChange(file(), written)), []);
  });

  it("shows durations and times as one writes them", () => {
    const campaign = "{ name: launch, from: 2026-12-01T09:00:00+01:00, until: 2026-12-02T08:00:00Z, add: 2 }";
    const other = file((text) =>
      `${text}\nserving: { tell_customer_after: 90s }`.replace(
        "min_ready: 3",
        `min_ready: 3\n    max_age: 7d\n    sizing: { campaigns: [${campaign}] }`,
      ),
    );
    const { before, after } = configChange(file(), other);
    assert.deepEqual(before, {
      "pools.small-eu.max_age": "14d",
      "pools.small-eu.sizing.campaigns": [],
      "serving.tell_customer_after": "5m",
    });
    assert.equal(after["pools.small-eu.max_age"], "7d");
    assert.equal(after["pools.small-eu.sizing.campaigns.launch.from"], "2026-12-01T08:00:00.000Z");
    assert.equal(after["serving.tell_customer_after"], "90s");
  });

  it("has the keys of a pool that came or went on one side", () => {
    const second =
      "  other:\n    { plan: small, regions: [us-east], server_type: cx23, min_ready: 1, max_total: 2 }\n";
    const two = file((text) =>
      text.replace("max_total: 20", `max_total: 20`).replace("pools:\n", `pools:\n${second}`),
    );
    const { before, after } = configChange(file(), two);
    assert.deepEqual(before, {});
    assert.equal(after["pools.other.min_ready"], 1);
    assert.deepEqual(after["pools.other.regions"], ["us-east"]);
    assert.deepEqual(configChange(two, file()), { before: after, after: {} });
  });

  it("tells where a secret is found, and nothing else of it", () => {
    const other = file((text) => text.replace("env: STRIPE_KEY", "env: STRIPE_SECRET"));
    assert.deepEqual(configChange(file(), other), {
      before: { "stripe.key.env": "STRIPE_KEY" },
      after: { "stripe.key.env": "STRIPE_SECRET" },
    });
  });

  it("is everything when nothing was in force before", () => {
    const { before, after } = configChange(null, file());
    assert.deepEqual(before, {});
    assert.equal(after.instance, "test");
  });

  it("tells two secrets apart by their text", () => {
    assert.notEqual(comparable({ key: new Secret("a") }), comparable({ key: new Secret("b") }));
    assert.equal(comparable({ key: new Secret("a") }), comparable({ key: new Secret("a") }));
  });
});
