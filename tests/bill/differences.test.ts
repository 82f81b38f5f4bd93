import { strict as assert } from "node:assert";
import { differencesOf, lifeOf, slackMs } from "../../pool/bill/differences.ts";
import { hourMs } from "../../pool/clock.ts";
import { machineName } from "../../pool/machine/machine.ts";
import type { BilledResource } from "../../pool/store/store.ts";

const t = Date.UTC(2026, 10, 21);
const now = t + 10 * hourMs;
const all = [{ from: t - hourMs, until: now }];
const money = (net: number) => ({ net, gross: net });
const price = { hourly: money(0.01), monthly: money(6) };
const server: BilledResource = {
  kind: "server",
  id: 7,
  name: "claw-a",
  machine: machineName("claw-test-aaaaaaaaaa"),
  pool: "small",
  type: "cx23",
  location: "fsn1",
  hasIpv4: false,
  price: { currency: "EUR", own: price, address: null },
  countedFrom: t,
  countedUntil: null,
  seenFrom: t,
  seenUntil: now,
};
const found = (change: Partial<BilledResource>, listed = all) =>
  differencesOf({ ...server, ...change }, listed, now).map(({ kind, hours, net }) => [kind, hours, net]);

describe("what is counted against what is seen", () => {
  it("agrees when the two are minutes apart", () => {
    assert.deepEqual(found({}), []);
    assert.deepEqual(found({ seenFrom: t - slackMs, seenUntil: now - slackMs }), []);
    assert.deepEqual(found({ countedUntil: t + hourMs, seenUntil: t + hourMs + slackMs }), []);
  });

  it("tells of what no row knew, as long as it was seen", () => {
    const stray = { machine: null, pool: null, countedFrom: null };
    assert.deepEqual(found({ ...stray, seenUntil: t + 90 * 60_000 }), [["not-counted", 2, 0.02]]);
    assert.deepEqual(found({ ...stray, seenUntil: t, price: null }), [["not-counted", 1, null]]);
    const life = lifeOf({ ...server, ...stray, seenUntil: t + hourMs }, now);
    assert.deepEqual(life, { from: t, until: t + hourMs });
  });

  it("tells of what was made long before it was known, or goes on after its row was closed, and charges for it", () => {
    const early = { seenFrom: t - 3 * hourMs };
    assert.deepEqual(found(early), [["not-counted", 3, 0.03]]);
    assert.deepEqual(lifeOf({ ...server, ...early }, now), { from: t - 3 * hourMs, until: now });
    const late = { countedUntil: t + hourMs, seenUntil: t + 3 * hourMs };
    assert.deepEqual(found(late), [["not-counted", 2, 0.02]]);
    assert.deepEqual(lifeOf({ ...server, ...late }, now), { from: t, until: t + 3 * hourMs });
  });

  it("tells of what is counted and in no list, as far as somebody looked", () => {
    const unseen = { seenFrom: null, seenUntil: null };
    assert.deepEqual(found(unseen), [["not-seen", 10, 0.1]]);
    assert.deepEqual(found({ seenUntil: t + 2 * hourMs }), [["not-seen", 8, 0.08]]);
    assert.deepEqual(found(unseen, []), []);
    assert.deepEqual(found(unseen, [{ from: t, until: t + slackMs }]), []);
    assert.deepEqual(found({ ...unseen, countedUntil: t + slackMs }), []);
  });
});
