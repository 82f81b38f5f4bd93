import { strict as assert } from "node:assert";
import ssh2 from "ssh2";
import { generateKeyPair, publicKeyBytes, publicKeyOf } from "../../pool/ssh/keys.ts";

describe("SSH key pairs", () => {
  // ssh2's own generator spoils about one pair in 256: 3,000 pairs of it would all be good once in 120,000 runs.
  it("are always readable, and their halves belong together", function () {
    this.timeout(60_000);
    for (let count = 0; count < 3_000; count++) {
      const { privateKey, publicKey } = generateKeyPair();
      assert.ok(!(ssh2.utils.parseKey(privateKey.expose()) instanceof Error));
      assert.deepEqual(publicKeyBytes(publicKeyOf(privateKey.expose())), publicKeyBytes(publicKey));
    }
  });
});
