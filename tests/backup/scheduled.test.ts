import { strict as assert } from "node:assert";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { pino } from "pino";
import { readBackup } from "../../pool/backup/archive.ts";
import type { BackupSource } from "../../pool/backup/backup.ts";
import { createBackups } from "../../pool/backup/scheduled.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { VirtualClock } from "../virtual-clock.ts";

const log = pino({ level: "silent" });
const minute = 60_000;
const hour = 60 * minute;

describe("backups by the clock", () => {
  let dir: string;
  let folder: string;
  let source: BackupSource;
  let clock: VirtualClock;
  let store: Store;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-backups-"));
    folder = join(dir, "backups");
    const stateDir = join(dir, "state");
    mkdirSync(stateDir);
    source = { instance: "test", stateDir, terraformRoot: join(stateDir, "terraform") };
    clock = new VirtualClock();
    const sealer = createSealer([newSealingKey()]);
    store = openSqliteStore({ file: join(stateDir, "clawpool.sqlite"), sealer, clock });
    store.flag("kind", "subject", "text");
  });
  afterEach(() => {
    store.close();
    rmSync(dir, { recursive: true });
  });

  const create = (everyMs: number, from: Pick<Store, "flag" | "clearFlag" | "audit"> = store) => {
    const settings = { backup: { directory: folder, everyMs, keep: 2 }, stateDir: source.stateDir };
    return createBackups({ store: from, source: () => source, config: () => settings, clock, log });
  };
  const flagged = () => store.flags().find(({ kind }) => kind === "backup-old");
  const leave = (...names: string[]) => {
    mkdirSync(folder, { recursive: true });
    for (const name of names) writeFileSync(join(folder, name), "half of it");
  };

  it("are made each interval, the newest are kept, and a person is told when none works", async () => {
    const backups = await create(minute);
    assert.equal(backups.lastAt(), null);
    for (let made = 0; made < 4; made++) {
      await backups.runIfDue();
      await backups.runIfDue();
      await clock.advance(minute);
    }
    assert.deepEqual(readdirSync(folder), [
      "clawpool-20260101T000200Z.backup",
      "clawpool-20260101T000300Z.backup",
    ]);
    assert.equal(clock.now() - (backups.lastAt() ?? 0), minute);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    // A file in the folder's place.
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "");
    for (let tried = 0; tried < 3; tried++) {
      await backups.runIfDue();
      await clock.advance(minute);
    }
    await backups.runIfDue();
    assert.match(flagged()?.text ?? "", /no good backup for 3 intervals, the newest is of 2026-01-01T00:03/);
    rmSync(folder);
    await backups.runIfDue();
    assert.equal(flagged(), undefined);
  });

  it("say what their thread says when it cannot make one", async () => {
    source = { ...source, stateDir: join(dir, "elsewhere") };
    const backups = await create(minute);
    await clock.advance(3 * minute + 1);
    await backups.runIfDue();
    assert.match(flagged()?.text ?? "", /none was ever made: .*the directory does not exist/);
    assert.deepEqual(readdirSync(folder), []);
  });

  it("neither copy the store nor read the copy in the daemon's thread, whose loop turns meanwhile", async () => {
    const daemons = Database.prototype;
    const { backup, pragma } = daemons;
    const here: string[] = [];
    daemons.backup = function (...parameters) {
      here.push("copied");
      return backup.apply(this, parameters);
    };
    daemons.pragma = function (...parameters) {
      if (parameters[0].startsWith("integrity_check")) here.push("read again");
      return pragma.apply(this, parameters);
    };
    let turns = 0;
    let ended = false;
    const turn = () => {
      turns += 1;
      if (!ended) setImmediate(turn);
    };
    setImmediate(turn);
    try {
      const backups = await create(minute);
      await backups.runIfDue();
    } finally {
      ended = true;
      Object.assign(daemons, { backup, pragma });
    }
    const [made = ""] = readdirSync(folder);
    assert.equal(readBackup(join(folder, made)).manifest.takenAt, clock.now());
    assert.deepEqual(here, []);
    assert(turns > 1);
  });

  it("leave nothing when the daemon stops meanwhile, and none is begun behind that", async () => {
    const backups = await create(minute);
    const running = backups.runIfDue();
    await backups.stop();
    await running;
    await backups.runIfDue();
    assert.deepEqual([existsSync(folder) ? readdirSync(folder) : [], backups.lastAt()], [[], null]);
    assert.deepEqual(
      store.auditRows({ subject: "backup" }).map(({ action }) => action),
      [],
    );
  });

  it("end with their thread in the middle of one", async () => {
    const threads: unknown[] = [];
    const note = (thread: unknown) => threads.push(thread);
    process.on("worker", note);
    try {
      const backups = await create(minute);
      const running = backups.runIfDue();
      while (threads.length === 0) await new Promise(setImmediate);
      await backups.stop();
      await running;
      assert.equal(backups.lastAt(), null);
      assert.deepEqual(readdirSync(folder), []);
    } finally {
      process.off("worker", note);
    }
  });

  it("clear up behind a daemon that was killed while it made one, and nothing of anybody else", async () => {
    const whole = "clawpool-20251231T230000Z.backup";
    leave(whole, `${whole}.draft`, `${whole}.draft-journal`, "mine.backup.draft", "clawpool.backup");
    await create(hour);
    assert.deepEqual(readdirSync(folder), [whole, "clawpool.backup", "mine.backup.draft"]);
  });

  it("wait behind such a death, whose reason may be the backup, and a person hears of it in the end", async () => {
    leave("clawpool-20251231T230000Z.backup.draft");
    const often = await create(minute);
    await often.runIfDue();
    assert.equal(often.lastAt(), null);
    await clock.advance(minute);
    await often.runIfDue();
    assert.equal(often.lastAt(), clock.now());

    rmSync(folder, { recursive: true });
    leave("clawpool-20251231T230000Z.backup.draft");
    const daily = await create(24 * hour);
    await clock.advance(hour - 1);
    await daily.runIfDue();
    assert.equal(daily.lastAt(), null);
    await clock.advance(1);
    await daily.runIfDue();
    assert.equal(daily.lastAt(), clock.now());
  });

  it("never throw, also when the store takes no flag", async () => {
    const full = () => {
      throw new Error("SQLITE_FULL");
    };
    writeFileSync(folder, "");
    const backups = await create(minute, { ...store, flag: full });
    await clock.advance(3 * minute + 1);
    await backups.runIfDue();
    assert.equal(flagged(), undefined);
  });
});
