import { strict as assert } from "node:assert";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SimulateOptions } from "../../pool/cli/simulate.ts";
import { runSimulation } from "../../pool/cli/simulate-report.ts";
import { storeFile } from "../../pool/store/store-file.ts";
import { storeWithHistory } from "../sizing/replay/own-history.ts";
import { type CliRig, makeCliRig } from "./rig.ts";

describe("clawpool simulate", function () {
  // A process for each command: some seconds each on a busy machine.
  this.timeout(120_000);
  let rig: CliRig;
  let other: string;
  let trace: string;

  beforeEach(() => {
    rig = makeCliRig();
    rig.configure();
    other = join(rig.dir, "new.yaml");
    const adaptive = "min_ready: 0\n    sizing: { policy: adaptive, target_hit_share: 0.9 }";
    writeFileSync(other, readFileSync(rig.configFile, "utf8").replace("min_ready: 3", adaptive));
    trace = join(rig.dir, "claims.csv");
    // Daylight saving ends in between, a second stands twice, and the last row comes first.
    const begun = Date.parse("2026-10-12T08:00:00Z") / 1_000;
    const rows = Array.from(
      { length: 20 * 8 },
      (_, n) => `${begun + Math.floor(n / 8) * 86_400 + (n % 8) * 3_600},1`,
    );
    writeFileSync(
      trace,
      `\uFEFFt,count\r\n${begun + 20 * 86_400},0\r\n${rows.join("\r\n")}\r\n${rows[3]}\r\n`,
    );
  });
  afterEach(() => rig.remove());

  it("replays a trace without a store: table, choice, picture, and what is not known", async () => {
    const svg = join(rig.dir, "out.svg");
    const args = ["--config", other, "--trace", trace, "--lead-time", "2m", "--picture", svg];
    const { stdout, stderr, exitCode } = await rig.run("simulate", ...args);
    assert.equal(exitCode, 0, stderr);
    assert.match(
      stdout,
      /^small-eu: \d+ claims from 2026-10-22 to 2026-11-01, .* planned with 2 min a build\.$/m,
    );
    assert.match(stdout, /Note: the rows were not in the order of time; they were sorted\./);
    assert.match(stdout, /Note: 1 rows repeat a second/);
    assert.match(stdout, /Note: price unknown: there is no store/);
    assert.match(
      stdout,
      /^POLICY +HIT +SURELY +IDLE H\/CLAIM +COST\/MONTH +WAIT P50 +P95 +WASTED +AND MISSED$/m,
    );
    assert.match(
      stdout,
      /^present: static 3 +100\.00 % +\d\d\.\d\d % +[\d.]+ +price unknown +- +- +0\/0 +0\/0$/m,
    );
    assert.match(stdout, /^new: adaptive for 90 % +\d/m);
    assert.match(stdout, /^static 1 \* +\d/m);
    assert.match(
      stdout,
      /^For 99\.9 %: none: \d+ days are too short a history to promise 99\.9 %: it takes 28\.$/m,
    );
    assert.match(stdout, /^Sat 2026-10-31 wanted \S{48} {2}8 claims$/m);
    assert.ok(!/NaN|undefined|Infinity/.test(stdout));
    assert.match(readFileSync(svg, "utf8"), /<title>small-eu, new: adaptive for 90 %/);
  });

  it("replays own payments, priced by Hetzner's list, as JSON for scripts", async () => {
    mkdirSync(rig.stateDir);
    storeWithHistory(storeFile(rig.stateDir), { count: 60, days: 20, until: Date.now() }).close();
    const { stdout, exitCode } = await rig.run("simulate", "--config", other, "--history", "15d", "--json");
    assert.equal(exitCode, 0);
    const [report] = JSON.parse(stdout);
    assert.equal(report.currency, "EUR");
    assert.equal(report.leadMs, 240_000);
    const own = report.rows.find(({ policy }: { policy: string }) => policy === "present: static 3");
    assert.ok(own.costAMonth > 17 && own.costAMonth < 24, String(own.costAMonth));
    assert.deepEqual([own.hitShare, own.misses], [1, 0]);
    assert.match(report.notes.join(), /builds go as the newest 1 did, 0 of which failed/);
  });

  it("says clearly what is wrong with what it was given", () => {
    const says = (message: RegExp, options: Partial<SimulateOptions>) =>
      assert.throws(() => runSimulation(rig.configFile, { history: "8w", ...options }), message);
    const columns = join(rig.dir, "columns.csv");
    writeFileSync(columns, "date;orders\n2026-01-01;4\n");
    says(/columns\.csv, line 1: want the header "t,count", not "date;orders"/, { trace: columns });
    says(/--trace \S+nothing\.csv cannot be read/, { trace: join(rig.dir, "nothing.csv") });
    says(/--lead-time soon: want between 1s and 2h/, { trace, leadTime: "soon" });
    says(/there is no pool big; known: small-eu/, { trace, pool: "big" });
    says(/clawpool\.sqlite does not exist; is state_dir right\?/, {});
    mkdirSync(rig.stateDir);
    storeWithHistory(storeFile(rig.stateDir), { count: 0, days: 20, until: Date.now() }).close();
    says(/pool small-eu has no payment since .*: nothing to replay\. Take a longer --history/, {});
    says(/--history 8y: want hours, days or weeks/, { history: "8y" });
    writeFileSync(other, "pools: [");
    says(/new\.yaml is not usable/, { config: other, trace });
  });
});
