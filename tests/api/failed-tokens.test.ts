import { strict as assert } from "node:assert";
import { clientAddress, createFailedTokens } from "../../api/failed-tokens.ts";

describe("failed tokens", () => {
  let now: number;
  const start = (addresses?: number) =>
    createFailedTokens({ now: () => now, burst: 3, everyMs: 1_000, ...(addresses ? { addresses } : {}) });
  beforeEach(() => {
    now = 50_000;
  });

  it("of one address are slowed down after a burst, and no other's", () => {
    const failures = start();
    for (let i = 0; i < 3; i++) {
      assert.equal(failures.waitMs("192.0.2.1"), 0, `try ${i + 1}`);
      failures.failed("192.0.2.1");
    }
    assert.equal(failures.waitMs("192.0.2.1"), 1_000);
    assert.equal(failures.waitMs("192.0.2.2"), 0);
    now += 1_000;
    assert.equal(failures.waitMs("192.0.2.1"), 0);
    failures.failed("192.0.2.1");
    assert.equal(failures.waitMs("192.0.2.1"), 1_000, "one more for each second");
    now += 60_000;
    for (let i = 0; i < 3; i++) failures.failed("192.0.2.1");
    assert.equal(failures.waitMs("192.0.2.1"), 1_000, "no more than a burst is saved up");
  });

  it("are counted for the network of an IPv6 address", () => {
    const failures = start();
    for (const last of ["1", "2", "abcd"]) failures.failed(`2001:db8:0:7::${last}`);
    assert.ok(failures.waitMs("2001:0db8::7:5:6:7:8") > 0, "the same /64, written in another way");
    assert.equal(failures.waitMs("2001:db8:0:8::1"), 0);
    for (let i = 0; i < 3; i++) failures.failed("::ffff:192.0.2.1");
    assert.ok(failures.waitMs("192.0.2.1") > 0, "the same peer on a socket of both families");
  });

  it("of ever new addresses take no more memory: the oldest are forgotten", () => {
    const failures = start(100);
    for (let i = 0; i < 3; i++) failures.failed("192.0.2.1");
    for (let i = 0; i < 99; i++) failures.failed(`198.51.100.${i}`);
    assert.ok(failures.waitMs("192.0.2.1") > 0);
    failures.failed("198.51.100.99");
    assert.equal(failures.waitMs("192.0.2.1"), 0);
  });

  for (const [what, peer, forwarded, address] of [
    ["nobody in between", "192.0.2.9", "", "192.0.2.9"],
    ["a stranger who says that he speaks for somebody", "192.0.2.9", "203.0.113.1", "192.0.2.9"],
    ["our proxy", "127.0.0.1", "203.0.113.1", "203.0.113.1"],
    ["our proxy on a socket of both families", "::ffff:127.0.0.1", "203.0.113.1", "203.0.113.1"],
    ["our proxy, and a sender who made up the rest", "127.0.0.1", "9.9.9.9, 203.0.113.1", "203.0.113.1"],
    ["two of our proxies", "::1", "203.0.113.1, 127.0.0.2", "203.0.113.1"],
    ["our proxy that says nothing", "127.0.0.1", "", "127.0.0.1"],
  ] as const) {
    it(`are those of ${address} with ${what}`, () => {
      assert.equal(clientAddress(peer, forwarded, ["127.0.0.0/8", "::1/128"]), address);
    });
  }
});
