import { strict as assert } from "node:assert";
import { configChange } from "../../pool/config/changes.ts";
import { parseConfig } from "../../pool/config/load.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { env, example } from "./example.ts";

describe("what is another in a configuration", () => {
  const config = (change: (text: string) => string = (text) => text) =>
    parseConfig(change(example), "clawpool.yaml", env);

  it("is nothing between two readings of one file", () => {
    assert.deepEqual(configChange(config(), config()), { before: {}, after: {} });
  });

  it("goes by the name of the pool", () => {
    const { before, after } = configChange(
      config(),
      config((text) => text.replace("min_ready: 3", "min_ready: 5")),
    );
    const [path] = Object.keys(after);
    assert.match(path ?? "", /^pools\.\S+\.minReady$/);
    assert.deepEqual([Object.values(before), Object.values(after)], [[3], [5]]);
    const pool = { name: "one", minReady: 1 };
    const added = configChange({ pools: [pool] }, { pools: [{ name: "two", minReady: 2 }, pool] });
    assert.deepEqual(added, { before: {}, after: { "pools.two.name": "two", "pools.two.minReady": 2 } });
  });

  it("names a secret that changed without its text", () => {
    const change = configChange({ key: new Secret("planted-1") }, { key: new Secret("planted-2") });
    assert.deepEqual(change, { before: { key: "[secret]" }, after: { key: "[secret]" } });
    const same = configChange({ key: new Secret("a") }, { key: new Secret("a") });
    assert.deepEqual(same, { before: {}, after: {} });
  });
});
