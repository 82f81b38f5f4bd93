import { strict as assert } from "node:assert";
import { inspect } from "node:util";
import { Secret } from "../../pool/secrets/secret.ts";

describe("Secret", () => {
  it("prints as [secret] in every usual way and gives its text only on request", () => {
    const secret = new Secret("hunter2");
    for (const printed of [String(secret), `${secret}`, inspect({ secret }), JSON.stringify({ secret })]) {
      assert(!printed.includes("hunter2"), printed);
      assert(printed.includes("[secret]"), printed);
    }
    assert.equal(secret.expose(), "hunter2");
  });
});
