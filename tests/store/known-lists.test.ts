import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { keepStatements } from "../../pool/store/known-lists.ts";

describe("lists that are known", () => {
  let dir: string;
  let db: Database.Database;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-lists-"));
    db = new Database(join(dir, "db"));
    db.pragma("journal_mode = WAL");
    db.exec("CREATE TABLE a (n INTEGER PRIMARY KEY); CREATE TABLE b (n INTEGER)");
  });
  afterEach(() => {
    db.close();
    rmSync(dir, { recursive: true });
  });

  it("are read anew behind whatever may have written to their table, and only then", () => {
    const lists = keepStatements(db);
    let reads = 0;
    const count = () => lists.get("a", "all", () => ++reads);
    assert.deepEqual([count(), count()], [1, 1]);
    db.prepare("INSERT INTO b VALUES (1)").run();
    db.prepare("UPDATE OR IGNORE b SET n = 2").run();
    assert.equal(count(), 1);
    const writes = [
      "INSERT INTO a VALUES (1)",
      "INSERT OR REPLACE INTO a\n  VALUES (1)",
      "REPLACE INTO a VALUES (1)",
      "UPDATE a SET n = 1",
      "UPDATE OR FAIL a SET n = 1",
      "WITH x AS (SELECT 1) UPDATE a SET n = 1",
      "DELETE FROM a",
    ];
    for (const [index, sql] of writes.entries()) {
      db.prepare(sql).run();
      assert.equal(count(), index + 2, sql);
    }
    db.prepare("INSERT INTO a VALUES (7) RETURNING n").get();
    assert.equal(count(), writes.length + 2);
  });

  it("are read anew behind another connection's commit", () => {
    const lists = keepStatements(db);
    const names = () => lists.get("a", "all", () => db.prepare("SELECT n FROM a").all());
    assert.deepEqual(names(), []);
    const other = new Database(join(dir, "db"));
    other.exec("INSERT INTO a VALUES (1)");
    other.close();
    assert.deepEqual(names(), [{ n: 1 }]);
  });
});
