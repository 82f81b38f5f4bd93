import { strict as assert } from "node:assert";
import { cpusOf } from "./nspawn/cpus.ts";

describe("the CPUs of an nspawn machine", () => {
  it("are as many as its type has cores", () => {
    assert.equal(cpusOf("0-7\n", { cores: 2, slot: 0 }), "0,1");
  });
  it("are spread over the host, each machine's beginning where the one before it ended", () => {
    const chosen = [0, 1, 2].map((slot) => cpusOf("0-3", { cores: 2, slot }));
    assert.deepEqual(chosen, ["0,1", "2,3", "0,1"]);
  });
  it("go round the end of the list", () => {
    assert.equal(cpusOf("0-2", { cores: 2, slot: 1 }), "0,2");
  });
  it("are all that the host has when the type has more", () => {
    assert.equal(cpusOf("0-1", { cores: 16, slot: 3 }), "0,1");
  });
  it("are only such that may be used", () => {
    assert.equal(cpusOf("2-3,6", { cores: 1, slot: 2 }), "6");
  });
});
