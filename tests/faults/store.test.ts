/** D1-D12: what happens to the database, its disk and whoever else has it. */
import { strict as assert } from "node:assert";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { diskLow, diskUse, logLong, usualDiskLimits, watchDisk } from "../../pool/observe/disk.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { type MachineChange, StaleRowError, type Store } from "../../pool/store/store.ts";
import { inspectStore } from "../../pool/store/store-file.ts";
import { Chance } from "../sim/chance.ts";
import { assertAudited } from "../store/audited.ts";
import { event, makeReady, newOrder, pay } from "../store/rows.ts";
import { onParts, simulated } from "./fault.ts";
import { minute, play, type Scene } from "./scene.ts";

const completed = "checkout.session.completed";
const sealer = createSealer([newSealingKey()]);
const sqliteError = (code: string) => Object.assign(new Error(code), { code });

/** Verbs that write, as the simulation knows them. */
const writing: readonly (keyof Store)[] = [
  "planMachine",
  "changeMachine",
  "createOrder",
  "attachCheckout",
  "keepEvent",
  "acceptPayment",
  "expireOrder",
  "endSubscription",
  "claimForQueue",
  "recordServing",
  "recordHandOverFailure",
  "releaseOrder",
  "recordDestroyed",
  "appendStep",
  "flag",
];

/** From its next start on the daemon has a store whose writes fail when `strikes` says so. */
function sicken(
  { story, store, kill }: Scene,
  strikes: (verb: string) => "before" | "after" | null,
  code: string,
): void {
  const sick: Record<string, unknown> = { ...store };
  for (const verb of writing) {
    const work = store[verb] as (...args: unknown[]) => unknown;
    sick[verb] = (...args: unknown[]) => {
      const when = strikes(verb);
      if (when === "before") throw sqliteError(code);
      const result = work(...args);
      if (when === "after") throw sqliteError(code);
      return result;
    };
  }
  Object.assign(story.installation, { store: sick });
  kill();
}

/** Told until it is answered with 2xx, as Stripe does. */
async function tellUntilTaken(
  { tell, wait }: Scene,
  order: Awaited<ReturnType<Scene["order"]>>,
): Promise<void> {
  for (let tries = 0; (await tell(order, completed, `evt_${order.id}`)) === null; tries++) {
    assert(tries < 400, "never taken");
    await wait(5_000);
  }
}

/** Three orders, one after the other, each until it runs or has failed. */
async function sellThree(scene: Scene, prefix: string): Promise<void> {
  for (const letter of ["a", "b", "c"]) {
    await scene.controller();
    const order = await scene.order(`${prefix}-${letter}`);
    scene.pays(order);
    await tellUntilTaken(scene, order);
    await scene.until("it runs or failed", () =>
      ["running", "failed"].includes(scene.store.order(order.id)?.state ?? ""),
    );
  }
}

describe("faults: the store", function () {
  this.timeout(60_000);
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-faults-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const file = () => join(dir, "clawpool.sqlite");

  onParts(
    "D1",
    "a SIGKILL before or after the commit, before or after the 200, loses no payment",
    async () => {
      const points: number[] = [];
      const script = async (scene: Scene) => {
        await scene.ready(2);
        const order = await scene.order("d1");
        scene.pays(order);
        points.push(scene.story.daemon.life.points);
        await tellUntilTaken(scene, order);
        await scene.reached(order, "running");
        points.push(scene.story.daemon.life.points);
      };
      await play(script);
      const [from = 0, until = 0] = points;
      assert(until - from > 20, `${until - from} points`);
      for (let point = from + 1; point <= until; point++) {
        const { trace } = await play(script, { kills: [point] });
        assert(
          trace.some((line) => line.endsWith(`killed at point ${point}`)),
          `not killed at ${point}`,
        );
      }
    },
  );

  onParts("D2", "after a power cut everything that was acknowledged is there", async () => {
    const chance = new Chance(1);
    const store = openSqliteStore({ file: file(), sealer });
    const images: { wal: number; orders: string[] }[] = [];
    const acknowledged: string[] = [];
    for (let i = 0; i < 16; i++) {
      if (i % 2 === 0) makeReady(store, `claw-d2-${i}`);
      store.createOrder(newOrder(`ord_${i}`));
      assert(["claimed", "queued"].includes(pay(store, `ord_${i}`).kind));
      acknowledged.push(`ord_${i}`);
      // With synchronous=FULL the log is on disk up to here when the verb returns; what comes behind may be lost.
      images.push({ wal: statSync(`${file()}-wal`).size, orders: [...acknowledged] });
    }
    const wal = readFileSync(`${file()}-wal`);
    for (const { wal: synced, orders } of images) {
      const image = join(dir, `image-${orders.length}.sqlite`);
      copyFileSync(file(), image);
      // Of what was not synced some pages came out, some did not, and one was torn.
      const tail = Buffer.from(wal.subarray(synced, synced + chance.integer(0, 20_000)));
      for (let at = 0; at < tail.length; at += 4_096)
        if (chance.happens(0.5)) tail.subarray(at, at + 4_096).fill(0);
      writeFileSync(`${image}-wal`, Buffer.concat([wal.subarray(0, synced), tail.subarray(0, -7)]));
      const after = openSqliteStore({ file: image, sealer });
      for (const id of orders) assert.notEqual(after.order(id as never)?.paidAt, null, id);
      const machines = after.machines().flatMap(({ order }) => order ?? []);
      assert.equal(new Set(machines).size, machines.length);
      assertAudited(after);
      after.close();
    }
    store.close();
  });

  simulated(
    "D3",
    "a disk that fills up is told; full it is no 200 and leaves nothing half done; with room again all goes on",
    async (scene) => {
      await scene.ready(2);
      const { disk } = scene.world;
      scene.world.disk = { ...disk, freeBytes: usualDiskLimits.lowBytes - 1 };
      await scene.until("a person is told", () => scene.flags(diskLow).length > 0, 2 * minute);
      assert.match(scene.flags(diskLow).join(), /make room/);
      const [one, two] = [await scene.order("d3-a"), await scene.order("d3-b")];
      let full = true;
      sicken(scene, () => (full ? "before" : null), "SQLITE_FULL");
      scene.pays(one);
      scene.pays(two);
      await scene.controller();
      for (const order of [one, two]) assert.equal(await scene.tell(order, completed), null);
      await scene.wait(600_000);
      assert.equal(scene.store.order(one.id)?.state, "awaiting-payment");
      full = false;
      for (const order of [one, two]) await tellUntilTaken(scene, order);
      for (const order of [one, two]) await scene.reached(order, "running");
      assert.equal(scene.flags(diskLow).length, 1);
      scene.world.disk = disk;
      await scene.until("it is over", () => scene.flags(diskLow).length === 0, 2 * minute);
    },
  );

  simulated("D4", "a database that is busy now and then makes it slower, nothing else", async (scene) => {
    await scene.ready(2);
    let busy = true;
    sicken(scene, () => (busy && scene.world.chance.happens(0.1) ? "before" : null), "SQLITE_BUSY");
    await sellThree(scene, "d4");
    busy = false;
  });

  simulated("D8", "a commit whose outcome nobody heard is done once", async (scene) => {
    await scene.ready(2);
    let cut = true;
    sicken(scene, () => (cut && scene.world.chance.happens(0.1) ? "after" : null), "SQLITE_IOERR");
    await sellThree(scene, "d8");
    cut = false;
  });

  onParts(
    "D5",
    "a database that is damaged, none at all or cut off is refused, with what to do",
    async () => {
      const store = openSqliteStore({ file: file(), sealer });
      for (let i = 0; i < 50; i++) store.createOrder(newOrder(`ord_${i}`));
      store.close();
      const good = readFileSync(file());
      assert.equal(inspectStore(file()), "whole");
      const spoil: ((bytes: Buffer) => Buffer)[] = [
        (bytes) => bytes.fill(0xff, 4_096 * 3 + 100, 4_096 * 3 + 900),
        (bytes) => bytes.fill(0x20, 0, 16),
        (bytes) => bytes.subarray(0, bytes.length - 5_000),
      ];
      for (const damage of spoil) {
        writeFileSync(file(), damage(Buffer.from(good)));
        assert.throws(
          () => inspectStore(file()),
          (error: Error) => /restore|recover/.test(error.message),
        );
      }
    },
  );

  onParts("D10", "a database of a newer release is refused, and stays as it was", async () => {
    openSqliteStore({ file: file(), sealer }).close();
    const db = new Database(file());
    db.pragma("user_version = 999");
    db.close();
    const before = readFileSync(file());
    assert.throws(
      () => openSqliteStore({ file: file(), sealer }),
      /999 is newer .* install the newer release/,
    );
    assert.deepEqual(readFileSync(file()), before);
  });

  onParts("D11", "who decides by what was true a moment ago is refused", async () => {
    const [mine, theirs] = [
      openSqliteStore({ file: file(), sealer }),
      openSqliteStore({ file: file(), sealer }),
    ];
    const name = makeReady(mine, "claw-d11");
    const stale = mine.machine(name);
    theirs.createOrder(newOrder("ord_d11"));
    assert.equal(pay(theirs, "ord_d11").kind, "claimed");
    const change: MachineChange = { state: "retiring" };
    assert.throws(() => mine.changeMachine(name, stale?.state ?? "ready", change, "too old"), StaleRowError);
    mine.createOrder(newOrder("ord_late"));
    assert.equal(pay(mine, "ord_late").kind, "queued");
    assertAudited(mine);
    mine.close();
    theirs.close();
  });

  onParts(
    "D12",
    "a log that a long reader makes grow is told, and empty again when the reader has gone",
    async () => {
      const store = openSqliteStore({ file: file(), sealer });
      const reader = new Database(file(), { readonly: true });
      reader.exec("BEGIN");
      reader.prepare("SELECT count(*) FROM inbox").get();
      const body = "x".repeat(60_000);
      const write = (from: number, until: number) => {
        for (let i = from; i < until; i++) store.keepEvent({ ...event(`evt_${i}`), body });
      };
      write(0, 150);
      const limits = { ...usualDiskLimits, logBytes: 8_000_000 };
      const look = () => watchDisk({ store, look: () => diskUse(dir), stateDir: dir, limits });
      const told = () => store.flags().filter(({ kind }) => kind === logLong);
      assert(diskUse(dir).logBytes > limits.logBytes, `${diskUse(dir).logBytes}`);
      look();
      assert.match(told()[0]?.text ?? "", /somebody reads the store/);
      // Not in vain: rows are taken all the same.
      write(150, 300);
      reader.exec("COMMIT");
      reader.close();
      look();
      assert.deepEqual(told(), []);
      // What is there now is the flag that was taken back.
      assert(statSync(`${file()}-wal`).size < 100_000);
      const db = new Database(file(), { readonly: true });
      assert.deepEqual(db.prepare("SELECT count(*) AS n FROM inbox").get(), { n: 300 });
      db.close();
      store.close();
    },
  );
});
