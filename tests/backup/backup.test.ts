import { strict as assert } from "node:assert";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { pino } from "pino";
import { readBackup } from "../../pool/backup/archive.ts";
import { type BackupSource, makeBackup } from "../../pool/backup/backup.ts";
import { restoreBackup } from "../../pool/backup/restore.ts";
import type { Config } from "../../pool/config/config.ts";
import { openRecordFiles } from "../../pool/recovery/record-files.ts";
import { createRecords } from "../../pool/recovery/records.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openAuditFile } from "../../pool/store/audit-file.ts";
import { leaseStore } from "../../pool/store/daemon-lease.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { contradiction, noteWitness } from "../../pool/store/witness.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";

const log = pino({ level: "silent" });
const key = newSealingKey();
const sealer = createSealer([key]);

describe("a backup", () => {
  let dir: string;
  let source: BackupSource;
  let clock: VirtualClock;
  let store: Store;
  let config: Pick<Config, "instance" | "stateDir" | "sealingKeys">;
  const file = () => join(dir, "one.backup");
  const state = (name: string) => join(source.terraformRoot, "machines", name, "terraform.tfstate");
  const records = () => createRecords({ store, sealer, files: openRecordFiles(source.stateDir), log });

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-backup-"));
    const stateDir = join(dir, "state");
    source = { instance: "test", stateDir, terraformRoot: join(stateDir, "terraform") };
    config = { instance: "test", stateDir, sealingKeys: [key] };
    clock = new VirtualClock();
    mkdirSync(join(source.terraformRoot, "machines", "m-1"), { recursive: true });
    writeFileSync(state("m-1"), '{"serial":3}');
    store = openSqliteStore({ file: join(stateDir, "clawpool.sqlite"), sealer, clock });
    makeReady(store, "m-1");
    store.createOrder(newOrder("o-1"));
    await records().catchUp();
  });
  afterEach(() => {
    store.close();
    rmSync(dir, { recursive: true });
  });

  const restore = (change: { overNewer?: boolean; otherInstance?: boolean } = {}) =>
    restoreBackup(config, file(), {
      overNewer: change.overNewer ?? false,
      otherInstance: change.otherInstance ?? false,
      actor: "person:ada",
      clock,
    });
  const reopened = () => {
    store = openSqliteStore({ file: join(source.stateDir, "clawpool.sqlite"), sealer, clock });
    return store;
  };

  it("is one private file with the store, terraform's states and the sealed records, made beside the open store", async () => {
    const { head, files, gaps, sealingKeys } = await makeBackup(source, file(), clock.now());
    assert.deepEqual(head, store.auditHead());
    assert.deepEqual(
      files.map(({ path }) => path),
      ["terraform/machines/m-1/terraform.tfstate", "records/machine-m-1.json", "records/order-o-1.json"],
    );
    assert.deepEqual([gaps, sealingKeys.length], [[], 1]);
    assert.equal(statSync(file()).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dir).sort(), ["one.backup", "state"], "nothing is left beside it");
    const bytes = readFileSync(file()).toString("latin1");
    for (const secret of ["sk-customer", "token-of-the-customer", "controller-key", key.expose()])
      assert(!bytes.includes(secret), `${secret} is readable in the backup`);
    const audit = openAuditFile(file());
    assert.equal(audit.verify(store.auditHead()).finding, null);
    audit.close();
    // The store is still the daemon's.
    store.flag("kind", "subject", "text");
  });

  it("says what it left out: a state that is just being written", async () => {
    writeFileSync(state("m-1"), '{"serial":');
    const { gaps, files } = await makeBackup(source, file(), clock.now());
    assert.match(gaps.join(), /terraform\/machines\/m-1\/terraform.tfstate was being written/);
    assert(!files.some(({ path }) => path.endsWith("tfstate")));
  });

  it("is refused when any part of it was changed", async () => {
    await makeBackup(source, file(), clock.now());
    readBackup(file());
    const spoil = (sql: string) => {
      const copy = join(dir, "spoilt.backup");
      writeFileSync(copy, readFileSync(file()));
      const db = new Database(copy);
      db.exec(sql);
      db.close();
      return copy;
    };
    assert.throws(() => readBackup(spoil("UPDATE backup_file SET content = x'00'")), /missing or changed/);
    assert.throws(
      () => readBackup(spoil("DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE seq = 3")),
      /no sound backup: its audit log/,
    );
    assert.throws(() => readBackup(spoil("DROP TABLE backup_manifest")), /no manifest/);
    const torn = join(dir, "torn.backup");
    writeFileSync(torn, readFileSync(file()).subarray(0, 20_000));
    assert.throws(() => readBackup(torn), /no sound backup: /);
    writeFileSync(torn, "text");
    assert.throws(() => readBackup(torn), /no sound backup: it is damaged, or no SQLite file/);
  });

  it("comes back in quarantine: every live machine held, nothing claimed or planned, and what was there is kept", async () => {
    await makeBackup(source, file(), clock.now());
    pay(store, "o-1");
    store.close();
    await assert.rejects(restore(), /has gone on since the backup.*--over-newer/);
    const { replaced, files } = await restore({ overNewer: true });
    assert.deepEqual(files, [], "states and records that exist are newer and stay");
    const before = openSqliteStore({ file: replaced ?? "", sealer, clock });
    assert.equal(before.order("o-1" as never)?.state, "provisioning");
    before.close();

    reopened();
    const why = store.quarantine()?.why ?? "";
    assert.match(why, /a backup of 2026-01-01T00:00:00.000Z was restored/);
    assert.equal(store.machine("m-1" as never)?.held, why);
    assert.equal(pay(store, "o-1").kind, "queued", "a payment is taken, and gets no machine");
    const caps = { maxTotal: 9, maxTotalAll: 9 };
    const { newMachine } = await import("../store/rows.ts");
    assert.equal(store.planMachine(newMachine("m-2"), caps), null);
    assert.throws(
      () => store.changeMachine("m-1" as never, "ready", { state: "retiring" }, "test"),
      /is held/,
    );
    const [row] = store.auditRows({ subject: "store" }).filter(({ action }) => action === "store.restored");
    assert.equal(row?.actor, "person:ada");
    const audit = openAuditFile(join(source.stateDir, "clawpool.sqlite"));
    assert.equal(audit.verify().finding, null);
    audit.close();
  });

  it("of a store in quarantine comes back with every live machine held, and a start finds no other doubt", async () => {
    store.enterQuarantine("an earlier backup was restored");
    store.releaseMachine("m-1" as never, { state: "proving" }, "released by name");
    await makeBackup(source, file(), clock.now());
    store.flag("kind", "subject", "text");
    await noteWitness(source.stateDir, store);
    store.close();
    await restore({ overNewer: true });
    reopened();
    assert.match(store.quarantine()?.why ?? "", /a backup of .* was restored/);
    assert.equal(store.machine("m-1" as never)?.held, store.quarantine()?.why);
    assert.equal(contradiction(source.stateDir, store), null);
  });

  it("brings the files back that a lost host had, the records marked as old", async () => {
    await makeBackup(source, file(), clock.now());
    store.close();
    rmSync(source.stateDir, { recursive: true });
    const { files, replaced } = await restore();
    assert.equal(replaced, null);
    assert.equal(files.length, 3);
    assert.equal(readFileSync(state("m-1"), "utf8"), '{"serial":3}');
    reopened();
    const found = (await records().machines()).get("m-1");
    assert.equal(found?.fromBackup, true);
    assert.equal(found?.secrets.controllerKey, "controller-key");
    assert.equal((await records().orders()).get("o-1")?.secrets.env.CLAW_MODEL_API_KEY, "sk-customer");
  });

  it("is not restored under a daemon, for another instance, or without its key; nothing is changed then", async () => {
    await makeBackup(source, file(), clock.now());
    const lease = await leaseStore({ stateDir: source.stateDir, clock, log });
    await assert.rejects(restore(), /daemon runs on .*; stop it first/);
    lease.release();
    config = { ...config, instance: "other" };
    await assert.rejects(restore(), /of instance test, the configuration says other/);
    config = { ...config, instance: "test", sealingKeys: [newSealingKey()] };
    await assert.rejects(restore(), /needs sealing key [0-9a-f]{8}, which is not configured/);
    assert.equal(store.quarantine(), null);
    assert(
      !readdirSync(source.stateDir).some((name) => name.includes("replaced") || name.includes("restored")),
    );
  });
});
