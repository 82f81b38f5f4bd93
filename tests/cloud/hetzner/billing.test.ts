import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "../../virtual-clock.ts";
import { type Bill, Billing, charge } from "./billing.ts";
import { priceOf, priceOfGb, snapshotGbMonthly, volumeGbMonthly } from "./catalogue/pricing.ts";
import { type Rig, serverOrder, startRig } from "./rig.ts";
import { Store } from "./store/store.ts";

const hour = 3_600_000;

describe("Hetzner emulator: bill", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  it("owes server and address by the started hour, switched off or not, until they are deleted", async () => {
    const { id } = await rig.runningServer("m-1");
    assert.equal(rig.hetzner.bill().owedPerHour, 0.0096);
    assert.equal(rig.hetzner.bill().total, 0.0096);
    await rig.must("POST", `/servers/${id}/actions/poweroff`);
    await rig.clock.advance(hour);
    assert.equal(rig.hetzner.bill().total, 0.0192);
    assert.equal(rig.hetzner.bill().owedPerHour, 0.0096);
    await rig.must("DELETE", `/servers/${id}`);
    await rig.clock.advance(10_000);
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
    await rig.clock.advance(100 * hour);
    assert.equal(rig.hetzner.bill().total, 0.0192);
  });

  it("bills two hours for a server made anew within one", async () => {
    const { id } = await rig.runningServer("m-1");
    await rig.must("DELETE", `/servers/${id}`);
    await rig.clock.advance(10_000);
    await rig.runningServer("m-1");
    const servers = rig.hetzner.bill().lines.filter((line) => line.kind === "server");
    assert.deepEqual(
      servers.map((line) => line.amount),
      [0.0088, 0.0088],
    );
  });

  it("charges nothing for IPv6 and nothing for a refused order", async () => {
    await rig.must("POST", "/servers", { ...serverOrder("m-1"), public_net: { enable_ipv4: false } });
    await rig.call("POST", "/servers", serverOrder("m-1"));
    assert.deepEqual(
      rig.hetzner.bill().lines.map((line) => line.kind),
      ["server"],
    );
  });

  it("never takes more than the monthly price for a calendar month", () => {
    const january = Date.UTC(2026, 0, 1);
    const march = Date.UTC(2026, 2, 1);
    assert.deepEqual(charge(january, march, 0.0088, 5.49), { hours: 59 * 24, amount: 10.98 });
    const { amount } = charge(january, march + 10 * hour - 1, 0.0088, 5.49);
    assert.equal(amount.toFixed(4), (10.98 + 0.088).toFixed(4));
    assert.deepEqual(charge(january, january, 0.0088, 5.49), { hours: 1, amount: 0.0088 });
  });

  it("is served at /_local/bill, also by project", async () => {
    await rig.runningServer("m-1");
    const made = await rig.call("POST", "/servers", serverOrder("m-1"), "B".repeat(64));
    assert.equal(made.status, 201);
    const url = new URL("/_local/bill", rig.hetzner.endpoint);
    const bill = (await (await fetch(url)).json()) as Bill;
    assert.deepEqual(bill, rig.hetzner.bill());
    const own = { total: 0.0096, owedPerHour: 0.0096 };
    assert.deepEqual(bill.projects, [
      { project: 1, ...own },
      { project: 2, ...own },
    ]);
    assert.equal(bill.owedPerHour, 0.0192);
    const second = (await (await fetch(`${url}?project=2`)).json()) as Bill;
    assert.deepEqual([second.owedPerHour, second.lines.map((line) => line.project)], [0.0096, [2, 2]]);
    assert.deepEqual(rig.hetzner.bill(3).lines, []);
  });

  it("owes for everything that costs, on its own line, until each is gone", async () => {
    const { must, clock } = rig;
    const settle = () => clock.advance(300_000);
    const location = "fsn1";
    const server = await rig.runningServer("m-1", { location });
    await must("POST", `/servers/${server.id}/actions/enable_backup`);
    await settle();
    const { image } = await must("POST", `/servers/${server.id}/actions/create_image`, { type: "snapshot" });
    await settle();
    const volume = (await must("POST", "/volumes", { name: "v", size: 100, location })).volume.id;
    const floating = (await must("POST", "/floating_ips", { type: "ipv4", home_location: location }))
      .floating_ip;
    const free = (await must("POST", "/primary_ips", { name: "p", type: "ipv4", location })).primary_ip.id;
    await settle();
    const owed = () =>
      Object.fromEntries(
        rig.hetzner
          .bill()
          .lines.filter((line) => line.ended === null)
          .map((line) => [`${line.kind} ${line.type}`, line.owedPerHour]),
      );
    // Of EUR net a month: 5.49, a fifth of it, 0.0143 a GB, 0.0572 a GB, 3, and 0.50 for each of two addresses.
    assert.deepEqual(owed(), {
      "server cx23": 0.0088,
      "backup cx23": 0.0018,
      "snapshot 1.07 GB": 0.000024521,
      "volume 100 GB": 0.009166667,
      "floating_ip ipv4": 0.0048,
      "primary_ip ipv4": 0.0008,
    });
    assert.equal(rig.hetzner.bill().lines.filter(({ kind }) => kind === "primary_ip").length, 2);
    await must("DELETE", `/servers/${server.id}`);
    await settle();
    assert.deepEqual(Object.keys(owed()), [
      "snapshot 1.07 GB",
      "volume 100 GB",
      "floating_ip ipv4",
      "primary_ip ipv4",
    ]);
    await must("DELETE", `/images/${image.id}`);
    await must("DELETE", `/volumes/${volume}`);
    await must("DELETE", `/floating_ips/${floating.id}`);
    await must("DELETE", `/primary_ips/${free}`);
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
    assert.ok(rig.hetzner.bill().total > 0);
  });

  it("survives a restart", async () => {
    await rig.runningServer("m-1");
    await rig.clock.advance(3 * hour);
    const before = rig.hetzner.bill();
    await rig.restart();
    assert.deepEqual(rig.hetzner.bill(), before);
  });
});

describe("Hetzner emulator: arithmetic of the bill", () => {
  let dir: string;
  let store: Store;
  let clock: VirtualClock;
  let billing: Billing;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-bill-"));
    store = new Store(dir);
    clock = new VirtualClock();
    billing = new Billing(store, clock);
  });
  afterEach(() => {
    store.close();
    rmSync(dir, { recursive: true });
  });

  const server = { kind: "server", id: 1, project: 1, name: "m-1", location: "fsn1" } as const;

  it("charges both prices for the hour in which a server changes its type, then the new one", async () => {
    billing.begin({ ...server, type: "cx23", ...priceOf(5.49) });
    await clock.advance(2 * hour);
    billing.change("server", 1, { type: "cx33", ...priceOf(8.49) });
    await clock.advance(30 * 60_000);
    const { lines, owedPerHour } = billing.bill();
    assert.deepEqual(
      lines.map(({ type, hours, amount }) => [type, hours, amount]),
      [
        ["cx23", 2, 0.0176],
        ["cx33", 1, 0.0136],
      ],
    );
    assert.equal(owedPerHour, 0.0136);
    assert.throws(() => billing.change("volume", 1, { type: "x", ...priceOf(1) }), /not on the bill/);
  });

  it("charges backups beside their server, and ends both with it", async () => {
    billing.begin({ ...server, type: "cx23", ...priceOf(10) });
    billing.begin({ ...server, kind: "backup", type: "cx23", ...priceOf(2) });
    assert.equal(billing.bill().owedPerHour, 0.0192);
    billing.end(1, "backup");
    assert.equal(billing.bill().owedPerHour, 0.016);
    billing.begin({ ...server, kind: "backup", type: "cx23", ...priceOf(2) });
    billing.end(1);
    assert.equal(billing.bill().owedPerHour, 0);
    assert.equal(billing.bill().lines.length, 3);
  });

  it("charges snapshots and volumes by the GB, and shows that the smallest is owed for", async () => {
    const other = { project: 1, name: "x", location: "fsn1" };
    billing.begin({ ...other, kind: "volume", id: 2, type: "10 GB", ...priceOfGb(10, volumeGbMonthly) });
    billing.begin({ ...other, kind: "snapshot", id: 3, type: "1 GB", ...priceOfGb(1, snapshotGbMonthly) });
    assert.deepEqual(
      billing.bill().lines.map((line) => line.owedPerHour),
      [0.000916667, 0.000022917],
    );
    // A whole month of 31 days is capped at the price of a month.
    await clock.advance(31 * 24 * hour);
    assert.deepEqual(
      billing.bill().lines.map((line) => line.amount),
      [0.572, 0.0143],
    );
  });
});
