/** The bill of a store on its own clock. */

import { strict as assert } from "node:assert";
import { makeBill } from "../../pool/bill/bill.ts";
import { billOf, closeDays, dayOf, periodOf } from "../../pool/bill/days.ts";
import { hourMs } from "../../pool/clock.ts";
import type { MachineName, MachineState } from "../../pool/machine/machine.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { billFlag, createBillSweep } from "../../pool/sweep/bill.ts";
import { priceList } from "../hetzner-client/pricing.ts";
import { caps, newMachine, newOrder, pay } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";

const minuteMs = 60_000;
const machinePrice = 0.0096;

describe("the bill", () => {
  let clock: VirtualClock;
  let store: Store;
  let day: string;
  beforeEach(async () => {
    clock = new VirtualClock();
    store = openSqliteStore({ file: ":memory:", sealer: createSealer([newSealingKey()]), clock });
    store.rememberPrices(priceList);
    // The hours of a test are the day's.
    await clock.advance(24 * hourMs - (clock.now() % (24 * hourMs)));
    day = dayOf(clock.now());
  });
  afterEach(() => store.close());

  const minutes = (count: number) => clock.advance(count * minuteMs);
  const bill = () => billOf(store, periodOf(day), clock.now());
  const rows = () =>
    bill().rows.map(({ pool, purpose, hours }) => [pool, purpose, Math.round(hours * 100) / 100]);
  function plan(name: string, serverId: number, change: Parameters<typeof newMachine>[1] = {}): MachineName {
    const machine = newMachine(name, change);
    store.planMachine(machine, caps);
    store.changeMachine(machine.name, "planned", { state: "creating", serverId }, "test");
    return machine.name;
  }
  const moves = (name: MachineName, ...states: MachineState[]) => {
    for (const state of states)
      store.changeMachine(
        name,
        store.machine(name)?.state ?? "planned",
        { state, ipv4: "192.0.2.1" },
        "test",
      );
  };
  const seen = (id: number, name: string, createdAt: number) =>
    ({ kind: "server", id, name, type: "cx23", location: "fsn1", createdAt, hasIpv4: true }) as const;
  const sweep = () =>
    createBillSweep({ store, clock }).run({ dryRun: false, actor: "daemon" }, new AbortController().signal);

  it("divides a machine's hours by what they were for, and adds up to what they cost", async () => {
    const name = plan("m-1", 1);
    await minutes(15);
    moves(name, "booting", "preparing", "proving", "ready");
    await minutes(105);
    store.createOrder(newOrder("o-1"));
    pay(store, "o-1");
    await minutes(90);
    assert.deepEqual(rows(), [
      ["small", "building", 0.25],
      ["small", "ready", 1.75],
      // Two and a half hours so far: the third is charged in full.
      ["small", "serving", 2],
    ]);
    const { hours, addressHours, net, gross, currency, unpriced } = bill();
    assert.deepEqual([hours, addressHours, currency, unpriced], [4, 4, "EUR", []]);
    assert.equal(net.toFixed(6), (4 * machinePrice).toFixed(6));
    assert.equal(gross.toFixed(6), (4 * machinePrice * 1.19).toFixed(6));
  });

  it("counts whole hours, into how many parts ever they are divided", async () => {
    const names = Array.from({ length: 30 }, (_, index) => plan(`m-${index}`, index + 1));
    for (const state of ["booting", "preparing", "proving", "ready"] as const) {
      await minutes(7);
      for (const name of names) moves(name, state);
    }
    const [first, ...others] = names;
    if (first) moves(first, "retiring");
    await minutes(13);
    for (const name of others) moves(name, "retiring");
    await minutes(40);
    assert.deepEqual([bill().hours, bill().addressHours], [60, 60]);
    assert.equal(bill().net.toFixed(6), (60 * machinePrice).toFixed(6));
  });

  it("counts all of a build that failed as failed, and its end until Hetzner says that it is gone", async () => {
    const name = plan("m-1", 1);
    await minutes(30);
    moves(name, "failed");
    await minutes(15);
    moves(name, "retiring");
    await minutes(15);
    store.recordDestroyed(name);
    await minutes(600);
    assert.deepEqual(rows(), [
      ["small", "failed", 0.75],
      ["small", "ending", 0.25],
    ]);
  });

  it("goes on counting a row's old server until it knows of another", async () => {
    const name = plan("m-1", 1);
    await minutes(30);
    store.changeMachine(name, "creating", { serverId: 2 }, "ordered again");
    await minutes(90);
    assert.deepEqual(
      [bill().hours, store.billed(0, clock.now()).map(({ id, countedUntil }) => [id, countedUntil === null])],
      [
        3,
        [
          [1, false],
          [2, true],
        ],
      ],
    );
  });

  it("takes no price for nothing: hours without one are named, and priced when a list has it", async () => {
    plan("m-1", 1, { serverType: "cx99" });
    assert.deepEqual(bill().unpriced, [
      { reason: "no price for cx99 at fsn1: Hetzner's price list does not have it", hours: 1 },
    ]);
    assert.equal(bill().hours, 1);
    assert.equal(bill().net, 0.0008);
    store.rememberPrices({
      ...priceList,
      servers: { ...priceList.servers, cx99: priceList.servers.cx33 ?? {} },
    });
    assert.deepEqual([bill().unpriced, bill().net], [[], 0.0144]);
  });

  it("keeps for what exists the price at which it was ordered", async () => {
    plan("m-1", 1);
    store.rememberPrices({ ...priceList, servers: { cx23: priceList.servers.cpx22 ?? {} } });
    plan("m-2", 2);
    assert.equal(bill().net, 0.0096 + 0.032);
  });

  it("includes what no row knew as long as Hetzner showed it, and tells of it", async () => {
    plan("m-1", 1);
    for (let passed = 0; passed < 180; passed++) {
      store.recordSeen([
        seen(1, "m-1", clock.now() - passed * minuteMs),
        seen(9, "stray", clock.now() - passed * minuteMs),
      ]);
      await minutes(1);
    }
    await minutes(60);
    assert.deepEqual(rows(), [
      ["small", "building", 4],
      [null, "unknown", 3],
    ]);
    const report = await sweep();
    assert.deepEqual(
      report.findings.map(({ kind, subject }) => [kind, subject]),
      [["not-counted", "server 9"]],
    );
    assert.deepEqual(
      store.flags().map(({ kind, subject }) => [kind, subject]),
      [[billFlag, day]],
    );
  });

  it("tells nobody of an hour that differs", async () => {
    plan("m-1", 1);
    store.recordSeen([seen(1, "m-1", clock.now()), seen(9, "stray", clock.now())]);
    await minutes(30);
    const report = await sweep();
    assert.equal(report.findings.length, 1);
    assert.deepEqual(store.flags(), []);
  });

  it("closes a day when its last hours are over, keeps it so, and adds days up to months", async () => {
    const name = plan("m-1", 1);
    await minutes(25 * 60);
    assert.deepEqual(closeDays(store, clock.now()), []);
    await minutes(30);
    assert.deepEqual(closeDays(store, clock.now()), [day]);
    assert.deepEqual(closeDays(store, clock.now()), []);
    const closed = bill();
    assert.equal(closed.hours, 24);
    assert.deepEqual(
      store.auditRows({ subject: day }).map(({ action }) => action),
      ["bill.closed"],
    );
    moves(name, "failed", "retiring");
    store.recordDestroyed(name);
    await minutes(3 * 24 * 60);
    assert.deepEqual(bill(), closed);
    const month = billOf(store, periodOf(day.slice(0, 7)), clock.now());
    assert.equal(month.hours, 26);
    assert.equal(month.net.toFixed(6), (26 * machinePrice).toFixed(6));
    assert.equal(closeDays(store, clock.now()).length, 3);
    assert.deepEqual(billOf(store, periodOf(day.slice(0, 7)), clock.now()), month);
  });

  it("is empty for what is yet to come, and refuses what is no day and no month", () => {
    assert.equal(billOf(store, periodOf("2099-01"), clock.now()).hours, 0);
    for (const text of ["", "2026", "2026-13", "2026-02-30", "2026-1-1", "today", "2026-11-21T00:00"])
      assert.throws(() => periodOf(text), /want a day such as/);
  });

  it("has no money and no hole before the first price list", () => {
    const fresh = openSqliteStore({ file: ":memory:", sealer: createSealer([newSealingKey()]), clock });
    try {
      fresh.planMachine(newMachine("m-1"), caps);
      fresh.changeMachine(newMachine("m-1").name, "planned", { state: "creating", serverId: 1 }, "test");
      const { net, currency, unpriced, hours } = makeBill(fresh, periodOf(day), clock.now());
      assert.deepEqual([net, currency, hours], [0, null, 1]);
      assert.match(unpriced[0]?.reason ?? "", /^no price for cx23 at fsn1: .* has not been read yet$/);
      fresh.rememberPrices(priceList);
      assert.equal(makeBill(fresh, periodOf(day), clock.now()).net, machinePrice);
    } finally {
      fresh.close();
    }
  });
});
