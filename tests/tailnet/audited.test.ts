import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import type { AuditFacts } from "../../pool/store/store.ts";
import { auditedTailnet } from "../../pool/tailnet/audited.ts";
import { FakeTailnet } from "../machine/fakes.ts";

describe("an audited tailnet", () => {
  let fake: FakeTailnet;
  let rows: [string, string, AuditFacts][];
  let tailnet: ReturnType<typeof auditedTailnet>;

  beforeEach(() => {
    fake = new FakeTailnet();
    rows = [];
    tailnet = auditedTailnet(fake, (...row) => rows.push(row));
  });

  const wanted = { tags: ["tag:claw"], expirySeconds: 600, description: "rehearsal m-1", ephemeral: true };

  it("leaves a row for each key that is minted or revoked and each device that is deleted, and no key in it", async () => {
    const because = { subject: "m-1", why: "a rehearsal" };
    const { id, key } = await tailnet.mintKey(wanted, because);
    await tailnet.revokeKey(id, because);
    await tailnet.deleteDevice("node-7", { subject: "m-1", why: "it is retiring" });
    const { description: _, ...facts } = wanted;
    assert.deepEqual(rows, [
      ["tailnet.mint-key", "m-1", { why: "a rehearsal", ok: true, ...facts, key: id }],
      ["tailnet.revoke-key", "m-1", { why: "a rehearsal", ok: true, key: id }],
      ["tailnet.delete-device", "m-1", { why: "it is retiring", ok: true, node: "node-7" }],
    ]);
    assert.ok(!JSON.stringify(rows).includes(key.expose()));
    assert.deepEqual([fake.minted, fake.revoked, fake.deleted], [[wanted], [id], ["node-7"]]);
  });

  it("leaves one also of a call that fails, or that gives no reason", async () => {
    fake.nextError = new BorderError("no answer", { border: "tailnet", kind: "transient", code: "timeout" });
    await assert.rejects(tailnet.mintKey(wanted), /no answer/);
    const [[action, subject, { ok, code, why }]] = rows as [(typeof rows)[0]];
    assert.deepEqual(
      [action, subject, ok, code, why],
      ["tailnet.mint-key", "tailnet", false, "timeout", "rehearsal m-1"],
    );
  });

  it("asks without a row", async () => {
    fake.known.set("n", {} as never);
    await tailnet.device("n");
    assert.equal((await tailnet.devices("tag:claw")).length, 1);
    assert.deepEqual(rows, []);
  });
});
