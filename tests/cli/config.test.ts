import { strict as assert } from "node:assert";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { noteStart } from "../../pool/applied-config.ts";
import { loadSource } from "../../pool/config/load.ts";
import { watchConfig } from "../../pool/config/watch.ts";
import { Releasers } from "../../pool/releasers.ts";
import { createSealer } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { storeFile } from "../../pool/store/store-file.ts";
import { adminWith } from "../api/admin-with.ts";
import { type CliRig, makeCliRig } from "./rig.ts";

const quiet = pino({ level: "silent" });

describe("clawpool config", function () {
  // A process for each command: some seconds each on a busy machine.
  this.timeout(120_000);
  let rig: CliRig;
  let store: Store;
  let releasers: Releasers;
  let other: string;
  const me = /person:\S+/;

  /** The daemon's part in it: its store, its file and its socket. */
  async function runDaemon(): Promise<void> {
    const source = loadSource(rig.configFile, { env: rig.env });
    noteStart(store, source);
    const config = watchConfig(source, quiet, releasers, {
      applied: ({ source: { written }, change, actor, how }) => {
        store.recordConfig({ actor, how, written, change }, { why: "test" });
      },
      refused: () => {},
    });
    const socket = await adminWith({ stateDir: rig.stateDir, store, config }).listen();
    releasers.add("socket", socket.close);
  }
  const write = (...replacements: readonly (readonly [string, string])[]) => {
    const text = replacements.reduce(
      (before, [from, to]) => {
        assert.ok(before.includes(from), from);
        return before.replace(from, to);
      },
      readFileSync(rig.configFile, "utf8"),
    );
    writeFileSync(other, text);
  };

  beforeEach(() => {
    rig = makeCliRig();
    rig.configure();
    mkdirSync(rig.stateDir);
    other = join(rig.dir, "new.yaml");
    releasers = new Releasers();
    Object.assign(process.env, rig.env);
    const { sealingKeys } = loadSource(rig.configFile, { env: rig.env }).config;
    store = openSqliteStore({ file: storeFile(rig.stateDir), sealer: createSealer(sealingKeys) });
  });
  afterEach(async () => {
    await releasers.release(quiet);
    store.close();
    for (const name of Object.keys(rig.env)) delete process.env[name];
    rig.remove();
  });

  it("check: exit status 2 and every problem with its line, 0 and the meaning", async () => {
    const good = await rig.run("config", "check");
    assert.equal(good.exitCode, 0);
    assert.match(good.stdout, /is usable: 1 pool, at most 20 machines/);
    write(["min_ready: 3", "min_raedy: 3"], ["plan: small", "plan: big"]);
    const { exitCode, stderr } = await rig.run("config", "check", other);
    assert.equal(exitCode, 2);
    assert.match(
      stderr,
      /line \d+, column \d+: pools\.small-eu\.min_raedy: unknown key; did you mean min_ready\?/,
    );
  });

  it("diff: key by key against what the daemon runs, secrets unread, nothing changed", async () => {
    await runDaemon();
    write(
      ["min_ready: 3", "min_ready: 5\n    image: debian-13"],
      ["env: STRIPE_KEY", "file: /nowhere/stripe.key"],
    );
    const { stdout, exitCode } = await rig.run("config", "diff", other);
    assert.equal(exitCode, 0);
    assert.match(stdout, /against configuration 1, in force since \S+ by daemon:/);
    assert.match(stdout, /^pools\.small-eu\.min_ready +3 +5$/m);
    assert.match(stdout, /^stripe\.key\.file +- +\/nowhere\/stripe\.key +restart$/m);
    assert.match(stdout, /^pools\.small-eu\.image +debian-12 +debian-13 +roll-out$/m);
    assert.match(stdout, /refuses this file as a whole/);
    assert.match(stdout, /^ {2}small-eu: static 3 → static 5; 3 → 5 machines to keep, price unknown$/m);
    assert.equal(store.lastConfig()?.n, 1);
    const same = await rig.run("config", "diff");
    assert.match(same.stdout, /says the same as configuration 1/);
  });

  it("diff: against the file when no daemon ran yet", async () => {
    store.close();
    write(["min_ready: 3", "min_ready: 5"]);
    const { stdout } = await rig.run("config", "diff", other, "--json");
    const { change, against } = JSON.parse(stdout);
    assert.match(against, /clawpool\.yaml; no daemon ran here yet/);
    assert.deepEqual(change.after, { "pools.small-eu.min_ready": 5 });
  });

  it("apply: nothing with --dry-run, else the file is in place with its rights, the daemon runs it, and it is told who", async () => {
    await runDaemon();
    chmodSync(rig.configFile, 0o604);
    write(["min_ready: 3", "min_ready: 5"]);
    const before = readFileSync(rig.configFile, "utf8");
    const dry = await rig.run("config", "apply", other, "--dry-run");
    assert.equal(dry.exitCode, 0);
    assert.match(dry.stdout, /min_ready +3 +5/);
    assert.equal(readFileSync(rig.configFile, "utf8"), before);
    assert.equal(store.lastConfig()?.n, 1);

    const { stdout, exitCode } = await rig.run("config", "apply", other);
    assert.equal(exitCode, 0);
    assert.match(stdout, /Applied: the daemon runs \S+clawpool\.yaml as it is now\./);
    assert.equal(readFileSync(rig.configFile, "utf8"), readFileSync(other, "utf8"));
    assert.equal(statSync(rig.configFile).mode & 0o777, 0o604);
    const { n, how, actor } = store.lastConfig() ?? assert.fail();
    assert.deepEqual([n, how], [2, "apply"]);
    assert.match(actor, me);

    const history = await rig.run("config", "history");
    assert.match(history.stdout, /^1 +\S+Z +daemon +start +-$/m);
    assert.match(history.stdout, /^2 +\S+Z +person:\S+ +apply +pools\.small-eu\.min_ready$/m);
    const first = await rig.run("config", "show", "--at", "1");
    assert.match(first.stdout, /^# configuration 1, in force since \S+ by daemon$/m);
    assert.match(first.stdout, /^ {4}min_ready: 3$/m);
    for (const secret of Object.values(rig.env)) assert.ok(!first.stdout.includes(secret), "a secret");
    const none = await rig.run("config", "show", "--at", "7");
    assert.match(none.stderr, /there is no configuration 7: 1 to 2 are known/);
  });

  it("apply: the file is as it was when the daemon refuses it", async () => {
    await runDaemon();
    const before = readFileSync(rig.configFile, "utf8");
    write(["instance: test", "instance: other"], ["min_ready: 3", "min_ready: 5"]);
    const { stderr, exitCode } = await rig.run("config", "apply", other);
    assert.equal(exitCode, 1);
    assert.match(
      stderr,
      /the daemon refused it, .* is as it was: these parts need a restart of the daemon: instance/,
    );
    assert.equal(readFileSync(rig.configFile, "utf8"), before);
    assert.equal(store.lastConfig()?.n, 1);
  });

  it("apply: without a daemon the file waits for the next one, which notes it", async () => {
    noteStart(store, loadSource(rig.configFile, { env: rig.env }));
    write(["min_ready: 3", "min_ready: 5"]);
    const { stdout } = await rig.run("config", "apply", other);
    assert.match(stdout, /no daemon runs on \S+, the next one starts with it/);
    noteStart(store, loadSource(rig.configFile, { env: rig.env }));
    noteStart(store, loadSource(rig.configFile, { env: rig.env }));
    const last = store.lastConfig();
    assert.deepEqual(
      [last?.n, last?.how, last?.change.after],
      [2, "start", { "pools.small-eu.min_ready": 5 }],
    );
  });
});
