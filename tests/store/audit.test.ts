import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import {
  type AuditHead,
  canonicalJson,
  genesis,
  rowHash,
  rowText,
  type StoredAuditRow,
} from "../../pool/store/audit-chain.ts";
import { type AuditReport, openAuditFile } from "../../pool/store/audit-file.ts";
import { chainAudit } from "../../pool/store/migrate-audit.ts";
import { migrations } from "../../pool/store/schema.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { makeReady, newOrder, pay } from "./rows.ts";

const sealer = createSealer([newSealingKey()]);

describe("canonical JSON", () => {
  it("is that of RFC 8785 for whatever JSON can hold, and the same for any order of keys", () => {
    // Its own example, 3.2.2, without the numbers that our rows never hold.
    const example = {
      string: '€$\u000f\nA\'B"\\\\"/',
      literals: [null, true, false],
      "\u20ac": 1,
      "\r": 2,
      "1": 3,
    };
    assert.equal(
      canonicalJson(example),
      '{"\\r":2,"1":3,"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/","€":1}',
    );
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
        if (typeof value !== "object" || value === null || Array.isArray(value)) return;
        const turned = Object.fromEntries(Object.entries(value).reverse());
        assert.equal(canonicalJson(turned), canonicalJson(value));
      }),
    );
  });

  it("leaves out what JSON does not know, and never gives a secret's text", () => {
    const value = { gone: undefined, list: [undefined], key: new Secret("sk-planted"), at: new Date(0) };
    assert.equal(canonicalJson(value), '{"at":"1970-01-01T00:00:00.000Z","key":"[secret]","list":[null]}');
  });
});

describe("the chain of audit rows", () => {
  let dir: string;
  let file: string;
  /** As it was before somebody laid hands on it. */
  let honest: { rows: StoredAuditRow[]; head: AuditHead };

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-audit-"));
    file = join(dir, "clawpool.sqlite");
    const store = openSqliteStore({ file, sealer });
    makeReady(store, "m-1");
    store.createOrder(newOrder("o-1"));
    pay(store, "o-1");
    for (const odd of ["\ud800 half", "nul \0 in it", '"},{"seq":1', "é €  "]) {
      store.audit(odd, odd, odd, { why: odd, run: odd, before: { [odd]: odd }, after: {}, odd });
    }
    honest = { rows: read(), head: store.auditHead() as AuditHead };
    store.close();
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  function read(): StoredAuditRow[] {
    const audit = openAuditFile(file);
    try {
      return [...audit.rows()];
    } finally {
      audit.close();
    }
  }
  function verify(recorded: AuditHead | null = null): AuditReport {
    const audit = openAuditFile(file);
    try {
      return audit.verify(recorded);
    } finally {
      audit.close();
    }
  }
  /** Puts these rows in place of the true ones, as somebody with a SQLite shell could. */
  function forge(rows: readonly StoredAuditRow[], numbered?: number): void {
    const db = new Database(file);
    db.pragma("synchronous = OFF");
    const guards = db.prepare<[], { name: string; sql: string }>(
      "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'",
    );
    const triggers = guards.all();
    for (const { name } of triggers) db.exec(`DROP TRIGGER ${name}`);
    db.exec("DELETE FROM audit");
    const insert = db.prepare(
      `INSERT INTO audit VALUES (@seq, @at, @actor, @action, @subject, @why, @run, @before, @after, @detail, @hash)`,
    );
    db.transaction(() => {
      for (const row of rows) insert.run(row);
      if (numbered !== undefined)
        db.prepare("UPDATE sqlite_sequence SET seq = ? WHERE name = 'audit'").run(numbered);
    })();
    for (const { sql } of triggers) db.exec(sql);
    db.close();
  }
  const found = (recorded: AuditHead | null = null) => {
    const { finding, rows } = verify(recorded);
    return finding && { kind: finding.kind, seq: finding.seq, good: rows };
  };
  const anyRow = fc.nat().map((n) => n % honest.rows.length);
  const check = <Ts extends [unknown, ...unknown[]]>(property: fc.IPropertyWithHooks<Ts>) =>
    fc.assert(property, { numRuns: 40 });

  it("is sound as it was written, and each hash can be computed from the row alone by anybody", () => {
    const { finding, rows, head } = verify(honest.head);
    assert.equal(finding, null);
    assert.equal(rows, honest.rows.length);
    assert.deepEqual(head, honest.head);
    let previous = genesis;
    for (const { hash, ...row } of honest.rows) {
      const { before, after, detail } = row;
      const parsed = {
        ...row,
        before: JSON.parse(before ?? "null"),
        after: JSON.parse(after ?? "null"),
        detail: JSON.parse(detail),
      };
      assert.equal(rowText(row), canonicalJson(parsed));
      assert.equal(hash, rowHash(previous, row));
      previous = hash;
    }
  });

  it("names a row of which any column was edited", () => {
    const columns = [
      "at",
      "actor",
      "action",
      "subject",
      "why",
      "run",
      "before",
      "after",
      "detail",
      "hash",
    ] as const;
    check(
      fc.property(anyRow, fc.constantFrom(...columns), fc.string(), (at, column, text) => {
        const rows = honest.rows.map((row) => ({ ...row }));
        const row = rows[at] as Record<string, unknown> & StoredAuditRow;
        const was = row[column];
        // What a mean hand would try: a space in JSON, another time, another text.
        const json = was === null ? "{}" : `${was} `;
        const edited =
          column === "at"
            ? row.at + 1
            : ["before", "after", "detail"].includes(column)
              ? json
              : `${text}${was ?? ""}x`;
        Object.assign(row, { [column]: edited });
        forge(rows);
        assert.deepEqual(found(), { kind: "edited", seq: at + 1, good: at });
      }),
    );
  });

  it("does not take two rows for one that share a text: JSON that is none is an edit", () => {
    const rows = honest.rows.map((row) => ({ ...row }));
    const row = rows[2] as StoredAuditRow;
    const [before, detail] = [row.before, row.detail];
    // The same bytes in other columns: `after` swallows what follows it.
    Object.assign(row, { after: `${row.after},"at":${row.at},"before":${before},"detail":${detail}` });
    forge(rows);
    assert.deepEqual(found(), { kind: "edited", seq: 3, good: 2 });
  });

  it("names the first of rows that were removed, and an edit where the numbers were closed up", () => {
    check(
      fc.property(anyRow, fc.nat(3), fc.boolean(), (at, more, closeUp) => {
        const left = honest.rows.toSpliced(at, 1 + more);
        forge(closeUp ? left.map((row, index) => ({ ...row, seq: index + 1 })) : left);
        const last = at + more + 1 >= honest.rows.length;
        const kind = last ? "truncated" : closeUp ? "edited" : "removed";
        assert.deepEqual(found(), { kind, seq: at + 1, good: at });
      }),
    );
  });

  it("names the first of two rows that changed places", () => {
    check(
      fc.property(anyRow, anyRow, (one, two) => {
        fc.pre(one !== two);
        const rows = [...honest.rows];
        const [a, b] = [rows[one] as StoredAuditRow, rows[two] as StoredAuditRow];
        rows[one] = { ...b, seq: a.seq };
        rows[two] = { ...a, seq: b.seq };
        forge(rows);
        const first = Math.min(one, two);
        const finding = found();
        assert.equal(finding?.seq, first + 1);
        assert.equal(finding?.good, first);
        // Of neighbours the second looks like one that was put in front of the first, which is as true.
        assert.match(finding?.kind ?? "", Math.abs(one - two) === 1 ? /edited|inserted/ : /edited/);
      }),
    );
  });

  it("names a row that was put between others, whatever number it got", () => {
    check(
      fc.property(anyRow, fc.boolean(), (at, first) => {
        const forged = { ...(honest.rows[0] as StoredAuditRow), why: "it was not me" };
        if (first) {
          forge([{ ...forged, seq: 0 }, ...honest.rows]);
          assert.deepEqual(found(), { kind: "inserted", seq: 0, good: 0 });
          return;
        }
        const rows = honest.rows.toSpliced(at, 0, forged).map((row, index) => ({ ...row, seq: index + 1 }));
        forge(rows);
        assert.deepEqual(found(), { kind: "inserted", seq: at + 1, good: at });
      }),
    );
  });

  it("shows rows cut off at the end by SQLite's own count, and without that by a head that was noted", () => {
    const last = honest.rows.length;
    forge(honest.rows.slice(0, 3));
    assert.deepEqual(found(), { kind: "truncated", seq: 4, good: 3 });
    forge(honest.rows.slice(0, 3), 3);
    assert.equal(found(), null, "nothing in the file itself tells");
    assert.deepEqual(found(honest.head), { kind: "truncated", seq: 4, good: 3 });
    const { text } = verify(honest.head).finding ?? {};
    assert.equal(text, `truncated: the last row is 3, but ${last} was recorded as the head`);
  });

  it("goes on behind a cut with numbers that were never given, so that the gap stays to be seen", () => {
    const last = honest.rows.length;
    forge(honest.rows.slice(0, 3));
    const store = openSqliteStore({ file, sealer });
    store.audit("test", "did", "something", { why: "test" });
    assert.equal(store.auditHead()?.seq, last + 1);
    store.close();
    assert.deepEqual(found(), { kind: "removed", seq: 4, good: 3 });
  });

  it("tells by a noted head that everything was rewritten with sound hashes", () => {
    let previous = genesis;
    const rows = honest.rows.map((row, index) => {
      const other = index === 1 ? { ...row, why: "rewritten" } : row;
      previous = rowHash(previous, other);
      return { ...other, hash: previous };
    });
    forge(rows);
    assert.equal(found(), null, "nothing in the file itself tells");
    const { seq } = honest.head;
    assert.deepEqual(found(honest.head), { kind: "rewritten", seq, good: seq });
    const [first] = honest.rows as [StoredAuditRow];
    assert.equal(found({ seq: 1, hash: first.hash }), null, "what is older than the rewriting is as it was");
  });

  it("tells of a trigger that is missing or is another", () => {
    const db = new Database(file);
    db.exec("DROP TRIGGER audit_no_update");
    assert.match(verify().finding?.text ?? "", /trigger audit_no_update /);
    db.exec("CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit WHEN 0 BEGIN SELECT 1; END");
    assert.equal(verify().finding?.kind, "unguarded");
    db.close();
  });

  it("refuses every way in which SQLite replaces rows", () => {
    const db = new Database(file);
    const row = "SELECT 1, 1, '', '', '', '', NULL, NULL, NULL, '{}', ''";
    assert.throws(() => db.exec(`INSERT OR REPLACE INTO audit ${row}`), /only appended/);
    assert.throws(() => db.exec(`REPLACE INTO audit ${row}`), /only appended/);
    assert.throws(() => db.exec("UPDATE OR REPLACE audit SET seq = 1 WHERE seq = 2"), /never changed/);
    assert.throws(
      () => db.exec(`INSERT INTO audit ${row} WHERE true ON CONFLICT (seq) DO UPDATE SET why = 'x'`),
      /only appended|never changed/,
    );
    db.close();
    assert.equal(verify().finding, null);
  });

  it("reads beside a store that is open and goes on writing, more rows than it holds at once", () => {
    const rows = [...honest.rows];
    for (let seq = rows.length + 1, { hash } = honest.head; seq <= 2_500; seq++) {
      const row = { ...(honest.rows[0] as StoredAuditRow), seq };
      hash = rowHash(hash, row);
      rows.push({ ...row, hash });
    }
    forge(rows);
    const store = openSqliteStore({ file, sealer });
    const audit = openAuditFile(file);
    const reading = audit.rows();
    assert.equal(reading.next().value?.seq, 1);
    store.audit("test", "did", "late", { why: "test" });
    const { finding, rows: good } = audit.verify(store.auditHead());
    assert.deepEqual([finding, good], [null, 2_501]);
    assert.deepEqual(
      [...reading].map(({ seq }) => seq),
      Array.from({ length: 2_500 }, (_, index) => index + 2),
    );
    const late = [...audit.rows({ subject: "late" })];
    assert.deepEqual(
      late.map(({ seq }) => seq),
      [2_501],
    );
    audit.close();
    store.close();
  });
});

describe("a store of before there was a chain", () => {
  let dir: string;
  let file: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-audit-"));
    file = join(dir, "clawpool.sqlite");
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  /** A store as the last release without a chain left it, with so many rows. */
  function unchained(count: number): void {
    const db = new Database(file);
    const before = migrations.slice(0, migrations.indexOf(chainAudit));
    for (const migration of before) db.exec(String(migration));
    db.pragma(`user_version = ${before.length}`);
    const insert = db.prepare(
      "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)",
    );
    db.transaction(() => {
      for (let n = 1; n <= count; n++) {
        const detail = n % 2 ? { from: "ready", why: "claimed" } : { run: `run-${n}`, ok: true, why: "" };
        insert.run(n, "daemon", "machine.claimed", `m-${n}`, JSON.stringify(detail));
      }
    })();
    db.close();
  }

  it("gets its hashes when it is opened, and says from where on they are worth something", () => {
    unchained(2_500);
    const store = openSqliteStore({ file, sealer });
    const [first, second] = store.auditRows({ limit: 10_000 });
    assert.deepEqual(
      { why: first?.why, run: first?.run, detail: first?.detail, at: first?.at },
      { why: "claimed", run: null, detail: { from: "ready" }, at: 1 },
    );
    assert.deepEqual([second?.run, second?.detail], ["run-2", { ok: true }]);
    const [mark] = store.auditRows({ subject: "audit" });
    assert.deepEqual([mark?.seq, mark?.action], [2_501, "audit.chained"]);
    assert.match(mark?.why ?? "", /rows 1 to 2500 were written before/);
    store.audit("test", "did", "something", { why: "test" });
    store.close();
    const audit = openAuditFile(file);
    const { finding, rows, from } = audit.verify();
    assert.deepEqual({ finding, rows, from }, { finding: null, rows: 2_502, from: 1 });
    audit.close();
  });

  it("begins its chain with the first row when it had none", () => {
    unchained(0);
    const store = openSqliteStore({ file, sealer });
    assert.equal(store.auditHead(), null);
    store.audit("test", "did", "something", { why: "test" });
    assert.equal(store.auditHead()?.seq, 1);
    store.close();
  });
});
