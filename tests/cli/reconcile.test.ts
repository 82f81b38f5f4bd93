import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import type { ReconcileRequest, StripeReport } from "../../pool/sweep/stripe.ts";
import type { SweepName, SweepReport, SweepRequest } from "../../pool/sweep/sweep.ts";
import { NoSweepError } from "../../pool/sweep/sweeps.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { type AnsweredRig, answeredRig } from "./rig.ts";

describe("clawpool reconcile", () => {
  let rig: AnsweredRig;
  let life: Life;
  let asked: ReconcileRequest[];
  let report: StripeReport;
  let looked: [SweepName, SweepRequest][];
  let found: SweepReport;

  beforeEach(async () => {
    life = startLife();
    asked = [];
    looked = [];
    found = { sweep: "cloud", looked: "3 servers; 3 machines that must have one", findings: [], gaps: [] };
    const since = Date.parse("2026-11-01T09:30:00Z");
    report = { findings: [], since, sessions: 12, subscriptions: 7, gaps: [] };
    rig = await answeredRig({
      store: life.store,
      sweeps: {
        async reconcile(name, request) {
          looked.push([name, request]);
          if (name === "tailnet")
            throw new BorderError("no answer", { border: "tailnet", kind: "transient" });
          if (name === "terraform") throw new NoSweepError("there is no terraform in this installation");
          return found;
        },
      },
      stripeSweep: {
        async reconcile(request) {
          asked.push(request);
          if (request.sinceMs === 60_000)
            throw new BorderError("no answer", { border: "stripe", kind: "transient" });
          return report;
        },
      },
    });
  });
  afterEach(async () => {
    await rig.hangUp();
    life.store.close();
    rig.remove();
  });

  const run = (...args: string[]) => rig.run("reconcile", "stripe", ...args);

  it("asks the daemon, and says that all is well", async () => {
    const { stdout, stderr, exitCode } = await run();
    assert.deepEqual([stderr, exitCode], ["", 0]);
    assert.equal(
      stdout,
      "Compared 12 checkouts since 2026-11-01T09:30:00.000Z and 7 subscriptions: all is as the webhooks said.",
    );
    assert.deepEqual(
      asked.map(({ dryRun, sinceMs }) => [dryRun, sinceMs]),
      [[false, undefined]],
    );
    assert.match(asked[0]?.actor ?? "", /^person:./);
  });

  it("prints what would be repaired, and what was left out", async () => {
    const finding = {
      kind: "payment",
      subject: "cs_1",
      order: "ord_1",
      text: "paid, and its order is expired",
    };
    const unknown = {
      kind: "unknown-payment",
      subject: "cs_2",
      order: null,
      text: "paid, and no order has it",
    };
    report = {
      ...report,
      findings: [finding, unknown] as StripeReport["findings"],
      gaps: ["sub_1 was not asked"],
    };
    const [dry, real, json] = [
      await run("--dry-run", "--since", "72h"),
      await run("--since", "30d"),
      await run("--json"),
    ];
    assert.deepEqual(
      asked.map(({ dryRun, sinceMs }) => [dryRun, sinceMs]),
      [
        [true, 72 * 3_600_000],
        [false, 30 * 86_400_000],
        [false, undefined],
      ],
    );
    const [head, columns, ...rows] = dry.stdout.split("\n");
    assert.match(head ?? "", /7 subscriptions; would repair:$/);
    assert.match(columns ?? "", /^KIND +STRIPE +ORDER +WHAT$/);
    assert.match(rows[0] ?? "", /^payment +cs_1 +ord_1 +paid, and its order is expired$/);
    assert.match(rows[1] ?? "", /^unknown-payment +cs_2 +- +paid, and no order has it$/);
    assert.equal(rows[2], "Left out: sub_1 was not asked.");
    assert.match(real.stdout, /; repaired:\n/);
    assert.deepEqual(JSON.parse(json.stdout), report);
  });

  it("says in one sentence what is wrong", async () => {
    for (const span of ["72", "1w", "0h", "91d", "-1h"]) {
      const { stderr, exitCode } = await run(`--since=${span}`);
      assert.deepEqual([stderr.includes("want minutes, hours or days"), exitCode], [true, 1], span);
    }
    assert.deepEqual(asked, []);
    const { stderr, exitCode } = await run("--since", "1m");
    assert.equal(stderr, "clawpool: Stripe could not be asked; nothing was concluded: no answer");
    assert.equal(exitCode, 1);
  });

  it("has the cloud looked at, and says what was found and done", async () => {
    const well = await rig.run("reconcile", "cloud");
    assert.deepEqual([well.stderr, well.exitCode], ["", 0]);
    assert.equal(well.stdout, "Compared 3 servers; 3 machines that must have one: all is as it should be.");
    const orphan = { kind: "orphan", subject: "server 7", text: "no row knows it", done: "would be deleted" };
    found = { ...found, findings: [orphan], gaps: ["the list of volume: 503"] };
    const dry = await rig.run("reconcile", "cloud", "--dry-run", "--confirm-losses");
    const [head, columns, row, gap] = dry.stdout.split("\n");
    assert.match(head ?? "", /^Compared 3 servers; .*; found:$/);
    assert.match(columns ?? "", /^KIND +SUBJECT +DONE +WHAT$/);
    assert.match(row ?? "", /^orphan +server 7 +would be deleted +no row knows it$/);
    assert.equal(gap, "Left out: the list of volume: 503.");
    assert.deepEqual(
      looked.map(([name, { dryRun, confirmLosses }]) => [name, dryRun, confirmLosses]),
      [
        ["cloud", false, false],
        ["cloud", true, true],
      ],
    );
    assert.match(looked[0]?.[1].actor ?? "", /^person:./);
  });

  it("says in one sentence why others could not be compared", async () => {
    const tailnet = await rig.run("reconcile", "tailnet", "--json");
    assert.equal(
      tailnet.stderr,
      "clawpool: The other side could not be asked; nothing was concluded: no answer",
    );
    const terraform = await rig.run("reconcile", "terraform");
    assert.equal(terraform.stderr, "clawpool: there is no terraform in this installation");
    assert.deepEqual([tailnet.exitCode, terraform.exitCode], [1, 1]);
  });
});
