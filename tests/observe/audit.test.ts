import { strict as assert } from "node:assert";
import { pino } from "pino";
import { BorderError } from "../../pool/errors.ts";
import { auditDaemon } from "../../pool/observe/audit-head.ts";
import { auditedRun } from "../../pool/observe/audited-run.ts";
import { Releasers } from "../../pool/releasers.ts";
import { type Life, startLife } from "../machine/fakes.ts";

describe("what the daemon does outside, in the audit log", () => {
  let life: Life;
  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => life.store.close());

  const account = { action: "terraform.apply", subject: "m-1", why: "the intent is written" };
  const rows = () =>
    life.store.auditRows().map(({ action, why, run, detail }) => ({ action, why, run, ...detail }));

  it("has a row before a run and one after it, with the run's id", async () => {
    let during: unknown[] = [];
    const result = await auditedRun(
      life.store,
      account,
      async () => {
        during = rows();
        return 7;
      },
      (ms) => ({ run: "run-1", ok: true, ms }),
    );
    assert.equal(result, 7);
    const { why } = account;
    assert.deepEqual(during, [{ action: "terraform.apply.begun", why, run: null }]);
    assert.deepEqual(rows().slice(1), [{ action: "terraform.apply", why, run: "run-1", ok: true, ms: 7 }]);
  });

  it("has a row of a run that threw, and hands the error on", async () => {
    const error = new BorderError("the plan deletes", {
      border: "terraform",
      kind: "permanent",
      code: "plan-refused",
    });
    const never = () => assert.fail("there was no result");
    await assert.rejects(
      auditedRun(life.store, account, () => Promise.reject(error), never),
      error,
    );
    const { action, why } = account;
    assert.deepEqual(rows().slice(1), [
      { action, why, run: null, ok: false, code: "plan-refused", error: "the plan deletes" },
    ]);
  });

  it("has the daemon's start and its end, and the log has the head at both", async () => {
    const lines: { msg: string; head?: string }[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const releasers = new Releasers();
    const head = () => {
      const { seq, hash } = life.store.auditHead() ?? assert.fail();
      return `${seq}:${hash}`;
    };
    auditDaemon(life.store, life.config, log, releasers);
    assert.equal(lines.length, 0, "an empty log has no head");
    await releasers.release(pino({ level: "silent" }));
    const ended = head();
    assert.deepEqual(
      lines.map(({ msg, head }) => [msg, head]),
      [["audit head", ended]],
    );
    auditDaemon(life.store, life.config, log, new Releasers());
    assert.deepEqual(lines.at(-1)?.head, ended, "the next start finds the log as the last end left it");
    const [first, stopped, second] = life.store.auditRows();
    assert.deepEqual([first?.action, stopped?.action], ["daemon.started", "daemon.stopped"]);
    assert.equal(first?.detail.config, second?.detail.config);
    const other = { ...life.config, maxTotal: 1 };
    auditDaemon(life.store, other, log, new Releasers());
    assert.notEqual(life.store.auditRows().at(-1)?.detail.config, first?.detail.config);
  });
});
