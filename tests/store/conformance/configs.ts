/** What a store promises of the configurations that were in force. */
import { strict as assert } from "node:assert";
import type { StoreUnderTest } from "./rig.ts";

export function configPromises(rig: StoreUnderTest): void {
  describe("configurations", () => {
    const none = { before: {}, after: {} };
    const apply = (written: unknown, actor = "person:ada") =>
      rig.store.recordConfig({ actor, how: "apply", written, change: none }, { why: "test" });

    it("are numbered, each with who, when and an audit row", () => {
      assert.equal(rig.store.lastConfig(), null);
      const first = apply({ instance: "one", pools: { b: 1, a: 2 } });
      rig.tick();
      const change = { before: { instance: "one" }, after: { instance: "two" } };
      const second = rig.store.recordConfig(
        { actor: "person:bob", how: "reload", written: { instance: "two" }, change },
        { why: "the file was changed", effect: { machines: 1 } },
      );
      assert.deepEqual([first?.n, second?.n], [1, 2]);
      assert.ok((second?.at ?? 0) > (first?.at ?? 0));
      assert.deepEqual(rig.store.lastConfig(), second);
      const row = rig.store.auditRows({ subject: "configuration" }).at(-1);
      assert.deepEqual(
        [row?.actor, row?.action, row?.before, row?.after],
        ["person:bob", "config.applied", change.before, change.after],
      );
      assert.deepEqual(row?.detail, { n: 2, how: "reload", effect: { machines: 1 } });
    });

    it("keep the order of the keys as they were written, and are not new for another order", () => {
      apply({ b: 1, a: 2 });
      assert.deepEqual(Object.keys(rig.store.lastConfig()?.written ?? {}), ["b", "a"]);
      const rows = rig.store.auditRows({ subject: "configuration" }).length;
      assert.equal(apply({ a: 2, b: 1 }), null);
      assert.equal(rig.store.lastConfig()?.n, 1);
      assert.equal(rig.store.auditRows({ subject: "configuration" }).length, rows);
    });

    it("are new again when an earlier one comes back", () => {
      apply({ a: 1 });
      apply({ a: 2 });
      assert.equal(apply({ a: 1 })?.n, 3);
    });
  });
}
