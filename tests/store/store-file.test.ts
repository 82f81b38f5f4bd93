import { strict as assert } from "node:assert";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { NeedsPersonError } from "../../pool/errors.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { explained, inspectStore, storeFile, tracesOf } from "../../pool/store/store-file.ts";
import { contradiction, noteWitness } from "../../pool/store/witness.ts";
import { makeReady } from "./rows.ts";

const sealer = createSealer([newSealingKey()]);

describe("the store's file", () => {
  let dir: string;
  let file: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-store-"));
    file = storeFile(dir);
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const made = () => {
    const store = openSqliteStore({ file, sealer });
    for (let i = 0; i < 50; i++) makeReady(store, `m-${i}`);
    return store;
  };

  it("is whole, or missing; an empty one is none", () => {
    assert.equal(inspectStore(file), "missing");
    writeFileSync(file, "");
    assert.equal(inspectStore(file), "missing");
    made().close();
    assert.equal(inspectStore(file), "whole");
  });

  it("is refused when it is damaged, with the remedy, and left as it was", () => {
    made().close();
    const sound = readFileSync(file);
    const pages = sound.length / 4096;
    const damages: [string, Buffer][] = [
      ["cut off", sound.subarray(0, Math.floor(pages / 2) * 4096)],
      [
        "overwritten in the middle",
        Buffer.concat([sound.subarray(0, 8192), Buffer.alloc(4096, 7), sound.subarray(12288)]),
      ],
      ["no database", Buffer.from("a".repeat(10_000))],
    ];
    for (const [what, bytes] of damages) {
      writeFileSync(file, bytes);
      assert.throws(
        () => inspectStore(file),
        (error) =>
          error instanceof NeedsPersonError && /is damaged.*clawpool restore FILE/.test(error.message),
        what,
      );
      assert(readFileSync(file).equals(bytes), `${what}: it was changed`);
    }
  });

  it("explains a full disk and a file that cannot be written", () => {
    made().close();
    const fails = (prepare: (db: Database.Database) => void): unknown => {
      const db = new Database(file);
      try {
        prepare(db);
        db.exec("CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(10000000))");
      } catch (error) {
        return error;
      } finally {
        db.close();
      }
      return assert.fail("it was written");
    };
    const full = fails((db) => db.pragma(`max_page_count = ${db.pragma("page_count", { simple: true })}`));
    assert.match(explained(full, file).message, /is full.*make room/);
    const readonly = fails((db) => db.pragma("query_only = ON"));
    assert.match(explained(readonly, file).message, /cannot be written.*read-only/);
    const other = new Error("other");
    assert.equal(explained(other, file), other);
  });

  it("is missed where anything tells of an installation, and only there", async () => {
    const root = join(dir, "terraform");
    assert.equal(tracesOf(dir, root), null);
    mkdirSync(join(root, "machines"), { recursive: true });
    assert.equal(tracesOf(dir, root), null, "an empty folder is no trace");
    mkdirSync(join(root, "machines", "m-1"));
    assert.equal(tracesOf(dir, root), join(root, "machines", "m-1"));
    rmSync(root, { recursive: true });
    const store = made();
    await noteWitness(dir, store);
    store.close();
    rmSync(file);
    assert.match(tracesOf(dir, root) ?? "", /store-witness.json/);
  });

  it("is known for an older one, or another, by the head that was noted beside it", async () => {
    const store = made();
    await noteWitness(dir, store);
    assert.equal(contradiction(dir, store), null);
    store.close();
    const older = readFileSync(file);
    const on = openSqliteStore({ file, sealer });
    assert.equal(contradiction(dir, on), null, "it has gone on since the note");
    on.flag("kind", "subject", "text");
    await noteWitness(dir, on);
    on.close();
    writeFileSync(file, older);
    const back = openSqliteStore({ file, sealer });
    assert.match(
      contradiction(dir, back) ?? "",
      /older than the last that ran here, or another: it lacks audit row 301:/,
    );
    back.flag("kind", "subject", "another text");
    assert.match(contradiction(dir, back) ?? "", /older/, "the same number, another row");
    back.close();
  });
});
