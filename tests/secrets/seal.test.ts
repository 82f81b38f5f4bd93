import { strict as assert } from "node:assert";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";

describe("sealing", () => {
  it("opens what it sealed, only at its place", () => {
    const sealer = createSealer([newSealingKey()]);
    const sealed = sealer.seal("text", "order/1");
    assert(!sealed.includes("text"));
    assert.equal(sealer.open(sealed, "order/1"), "text");
    assert.throws(() => sealer.open(sealed, "order/2"), /wrong place/);
  });

  it("refuses a text that was changed, or whose tag was cut short", () => {
    const sealer = createSealer([newSealingKey()]);
    const sealed = JSON.parse(sealer.seal("text", "p"));
    const flipped = Buffer.from(sealed.ct, "base64");
    flipped[0] = (flipped[0] ?? 0) ^ 1;
    assert.throws(() => sealer.open(JSON.stringify({ ...sealed, ct: flipped.toString("base64") }), "p"));
    const short = Buffer.from(sealed.tag, "base64").subarray(0, 4).toString("base64");
    assert.throws(() => sealer.open(JSON.stringify({ ...sealed, tag: short }), "p"));
  });

  it("opens with an older key after rotation and names a key that is missing", () => {
    const [older, newer] = [newSealingKey(), newSealingKey()];
    const sealed = createSealer([older]).seal("text", "p");
    assert.equal(createSealer([newer, older]).open(sealed, "p"), "text");
    assert.throws(() => createSealer([newer]).open(sealed, "p"), /needs sealing key [0-9a-f]{8}/);
  });

  it("says which key is not 32 bytes", () => {
    assert.throws(
      () => createSealer([newSealingKey(), new Secret("c2hvcnQ=")]),
      /sealing key 2: want 32 bytes/,
    );
  });
});
