import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { csvLine } from "../../pool/cli/csv.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import { makeReady } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { type CliRig, makeCliRig } from "./rig.ts";

describe("clawpool audit", () => {
  let rig: CliRig;
  let file: string;
  let store: Store;
  let clock: VirtualClock;

  beforeEach(() => {
    rig = makeCliRig();
    rig.configure();
    mkdirSync(rig.stateDir);
    file = join(rig.stateDir, "clawpool.sqlite");
    clock = new VirtualClock();
    store = openSqliteStore({ file, sealer: createSealer([newSealingKey()]), clock });
    makeReady(store, "m-1");
  });
  afterEach(() => {
    store.close();
    rig.remove();
  });

  const audit = (...args: string[]) => rig.run("audit", ...args);
  async function refused(command: string, cases: readonly (readonly [string[], RegExp])[]): Promise<void> {
    const answers = await Promise.all(cases.map(([args]) => audit(command, ...args)));
    for (const [index, { stdout, stderr, exitCode }] of answers.entries()) {
      assert.match(stderr, cases[index]?.[1] ?? assert.fail());
      assert.deepEqual([stdout, exitCode], ["", 1]);
    }
  }
  /** With a SQLite shell. */
  function tamper(sql: string): void {
    const db = new Database(file);
    db.exec(sql);
    db.close();
  }
  const head = () => {
    const { seq, hash } = store.auditHead() ?? assert.fail();
    return `${seq}:${hash}`;
  };

  describe("verify", () => {
    it("finds a sound chain sound, beside the open store and without it, and names its head", async () => {
      const beside = await audit("verify", "--head", head());
      assert.equal(beside.stderr, "");
      assert.equal(
        beside.stdout,
        `ok   the chain is sound: 6 rows from 2026-01-01T00:00:00.000Z to 2026-01-01T00:00:00.000Z, head ${head()}; ` +
          "row 6 is as it was recorded",
      );
      assert.equal(beside.exitCode, 0);
      const before = store.auditHead();
      store.close();
      const json = await audit("verify", "--json");
      assert.equal(json.exitCode, 0);
      const report = JSON.parse(json.stdout);
      assert.deepEqual([report.rows, report.head, report.finding], [6, before, null]);
    });

    const tampered: readonly [string, string, RegExp][] = [
      [
        "edited",
        "DROP TRIGGER audit_no_update; UPDATE audit SET why = 'not me' WHERE seq = 4",
        /^BAD {2}row 4 was edited or moved: its hash does not fit\n {5}good before that: 3 rows/,
      ],
      [
        "cut off",
        "DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE seq > 4",
        /^BAD {2}truncated: the last row is 4, but 6 is the last number that was given/,
      ],
    ];
    for (const [what, sql, said] of tampered) {
      it(`names the first row that was ${what}, and exits 1`, async () => {
        tamper(sql);
        const { stdout, stderr, exitCode } = await audit("verify");
        assert.match(stdout, said);
        assert.equal(stderr, "");
        assert.equal(exitCode, 1);
      });
    }

    it("sees by a noted head what the file alone does not show", async () => {
      const noted = head();
      tamper(`DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE seq > 4; UPDATE sqlite_sequence SET seq = 4;
              CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END`);
      assert.equal((await audit("verify")).exitCode, 0);
      const { stdout, exitCode } = await audit("verify", "--head", noted);
      assert.match(stdout, /^BAD {2}truncated: the last row is 4, but 6 was recorded as the head/);
      assert.equal(exitCode, 1);
    });

    it("says what is wrong with a head, a file or a store, and what to do", async () => {
      const empty = join(rig.dir, "text.sqlite");
      writeFileSync(empty, "this is text and no database ".repeat(100));
      const other = join(rig.dir, "other.sqlite");
      new Database(other).exec("CREATE TABLE t (x)").close();
      const cases: readonly [string[], RegExp][] = [
        [["--head", "12"], /^clawpool: --head 12: want <seq>:<hash>, a number and 64 hex digits/],
        [["--store", join(rig.dir, "none.sqlite")], /none\.sqlite does not exist; is state_dir right\?/],
        [["--store", empty], /text\.sqlite is no SQLite database; name the store's file/],
        [
          ["--store", other],
          /other\.sqlite has no chained audit log: .*`clawpool serve` brings it up to date/,
        ],
        [["--haed", "x"], /unknown option '--haed'\n\(Did you mean --head\?\)/],
      ];
      await refused("verify", cases);
      assert.ok(!existsSync(join(rig.dir, "none.sqlite")), "nothing is made by looking");
    });
  });

  describe("export", () => {
    const seqs = (text: string) => (text === "" ? [] : text.split("\n").map((line) => JSON.parse(line).seq));

    it("prints a row a line, of a time and of a subject", async () => {
      await clock.advance(86_400_000);
      store.audit("person:ada", "did", "m-2", { why: "she could", run: "r-1", more: 1 });
      await clock.advance(86_400_000);
      store.audit("daemon", "did", "m-1", { why: "it had to" });
      const all = await audit("export");
      assert.deepEqual([all.exitCode, all.stderr], [0, ""]);
      assert.deepEqual(seqs(all.stdout), [1, 2, 3, 4, 5, 6, 7, 8]);
      const row = JSON.parse(all.stdout.split("\n")[6] ?? "");
      assert.deepEqual(row, store.auditRows({ subject: "m-2" })[0]);
      const window = ["--since", "2026-01-02", "--until", "2026-01-03T02:00:00+02:00"];
      assert.deepEqual(seqs((await audit("export", ...window)).stdout), [7]);
      assert.deepEqual(seqs((await audit("export", "--subject", "m-1", ...window.slice(0, 2))).stdout), [8]);
      assert.equal((await audit("export", "--subject", "m-9")).stdout, "");
    });

    it("prints CSV that a spreadsheet takes for text", async () => {
      store.audit("=cmd|' /C calc'!A0", "did", "@SUM(1)", { why: 'said "no",\nthen -1', run: "+1" });
      const { stdout } = await audit("export", "--format", "csv", "--subject", "@SUM(1)");
      const [top, ...rest] = stdout.split("\r\n");
      assert.equal(top, "seq,time,actor,action,subject,why,run,before,after,detail,hash");
      assert.equal(
        rest.join("\r\n"),
        `7,2026-01-01T00:00:00.000Z,'=cmd|' /C calc'!A0,did,'@SUM(1),"said ""no"",\nthen -1",'+1,,,{},${head().slice(2)}`,
      );
      assert.equal(csvLine(["\t=1", "-1", "a-1", null, -1, "{}"]), "'\t=1,'-1,a-1,,-1,{}\r\n");
    });

    it("says which option is wrong, and how it should be", async () => {
      const cases: readonly [string[], RegExp][] = [
        [
          ["--since", "yesterday"],
          /--since yesterday: want a day \(2026-11-01, UTC\) or a time with its zone/,
        ],
        [["--until", "2026-02-31"], /--until 2026-02-31: want a day/],
        [["--since", "2026-01-02", "--until", "2026-01-01"], /--since is not before --until.*exchange them/],
        [
          ["--format", "xml"],
          /'--format <format>' argument 'xml' is invalid\. Allowed choices are jsonl, csv\./,
        ],
      ];
      await refused("export", cases);
    });

    it("takes a reader that has seen enough for no error", async () => {
      const wide = { why: "x".repeat(2_000), wide: "y".repeat(100_000) };
      for (let row = 0; row < 20; row++) store.audit("daemon", "did", "m-1", wide);
      const child = spawn(process.execPath, clawpoolArgs(rig.configFile, "audit", "export"), {
        env: { PATH: process.env.PATH, ...rig.env },
        stdio: ["ignore", "pipe", "pipe"],
      });
      let said = "";
      child.stderr.on("data", (chunk) => {
        said += chunk;
      });
      const exited = once(child, "exit");
      await once(child.stdout, "data");
      child.stdout.destroy();
      assert.deepEqual([(await exited)[0], said], [0, ""]);
    });
  });
});
