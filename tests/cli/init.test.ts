import { strict as assert } from "node:assert";
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliRig, makeCliRig } from "./rig.ts";

describe("clawpool init and config", () => {
  let rig: CliRig;
  let secrets: string;
  const init = () => rig.run("init", "--state-dir", rig.stateDir, "--secrets", secrets, "--instance", "shop");
  const mode = (path: string) => statSync(path).mode & 0o777;

  beforeEach(() => {
    rig = makeCliRig();
    secrets = join(rig.dir, "secrets");
  });
  afterEach(() => rig.remove());

  it("write a file that is usable once the operator has filled in the rest", async () => {
    const made = await init();
    assert.equal(made.exitCode, 0, made.stderr);
    const missing = ["hetzner.token", "stripe.key", "stripe.webhook", "tailscale.secret"];
    for (const name of missing) assert.match(made.stdout, new RegExp(name));

    const early = await rig.run("config", "check");
    assert.equal(early.exitCode, 2);
    for (const name of missing) assert.match(early.stderr, new RegExp(`line \\d+, column \\d+.*${name}`));

    const filled: Record<string, string> = {
      "hetzner.token": "h".repeat(64),
      "stripe.key": "sk_test_1",
      "stripe.webhook": "whsec_1",
      "tailscale.secret": "tskey-client-1",
    };
    for (const name of missing) writeFileSync(join(secrets, name), `${filled[name]}\n`, { mode: 0o600 });
    const usable = await rig.run("config", "check");
    assert.equal(usable.exitCode, 0, usable.stderr);
    assert.match(usable.stdout, /is usable: 1 pool, at most 10 machines/);
    assert.match(usable.stdout, /small-eu: plan small, cx23 in fsn1, nbg1, hel1; keeps 2 warm, at most 10/);
  });

  it("keep what they make to its owner, and print none of it", async () => {
    const { stdout, stderr } = await init();
    assert.equal(mode(secrets), 0o700);
    assert.equal(mode(rig.stateDir), 0o700);
    for (const name of ["sealing.key", "api.token"]) {
      assert.equal(mode(join(secrets, name)), 0o600);
      const secret = readFileSync(join(secrets, name), "utf8").trim();
      assert.ok(secret.length >= 40);
      assert.ok(!`${stdout}${stderr}${readFileSync(rig.configFile, "utf8")}`.includes(secret));
    }
    assert.equal(Buffer.from(readFileSync(join(secrets, "sealing.key"), "utf8"), "base64").length, 32);
  });

  it("overwrite neither a file nor a secret", async () => {
    await init();
    const key = readFileSync(join(secrets, "sealing.key"), "utf8");
    const again = await init();
    assert.equal(again.exitCode, 1);
    assert.match(again.stderr, /^clawpool: .*clawpool\.yaml exists; move it away first/);
    renameSync(rig.configFile, `${rig.configFile}.old`);
    assert.equal((await init()).exitCode, 0);
    assert.equal(readFileSync(join(secrets, "sealing.key"), "utf8"), key);
  });

  it("say which word was meant, and where", async () => {
    rig.configure(["min_ready: 3", "min_redy: 3"]);
    const { stderr, exitCode } = await rig.run("config", "check");
    assert.equal(exitCode, 2);
    assert.match(
      stderr,
      /line \d+, column \d+: pools\.small-eu\.min_redy: unknown key; did you mean min_ready\?/,
    );
    assert.doesNotMatch(stderr, /\n {4}at /, "no stack");
  });

  it("print a JSON Schema, which needs no file", async () => {
    const { stdout, exitCode } = await rig.run("config", "schema");
    assert.equal(exitCode, 0);
    const schema = JSON.parse(stdout);
    assert.ok(schema.properties.pools && schema.required.includes("hetzner"));
  });

  it("name the command that makes the file when there is none", async () => {
    const { stderr, exitCode } = await rig.run("status");
    assert.equal(exitCode, 2);
    assert.match(stderr, /cannot be read.*make one with `clawpool init`/s);
  });
});
