import assert from "node:assert/strict";
import { type Rig, startRig } from "../rig.ts";
import { routes } from "../routes.ts";
import { loadRequests } from "./extract.ts";
import { leftOut } from "./left-out.ts";

describe("Hetzner emulator: what it leaves out", () => {
  const requests = loadRequests();
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());

  it("is whole kinds of resources, named in one list", () => {
    const collections = new Set(requests.leftOut.map((operation) => operation.split("/")[1]));
    assert.deepEqual([...collections].sort(), Object.keys(leftOut).sort());
    assert.equal(Object.keys(requests.operations).length, routes.length);
  });

  it("answers 404 in the envelope, token or not", async () => {
    assert.ok(requests.leftOut.length > 40);
    for (const operation of requests.leftOut) {
      const [method = "", path = ""] = operation.split(" ");
      for (const headers of [{}, { Authorization: `Bearer ${rig.hetzner.token}` }]) {
        const url = `${rig.hetzner.endpoint}${path.replaceAll(/\{.*?\}/g, "1")}`;
        const response = await fetch(url, { method, headers });
        assert.equal(response.status, 404, operation);
        assert.deepEqual(await response.json(), {
          error: { code: "not_found", message: "api route not found", details: null },
        });
      }
    }
  });
});
