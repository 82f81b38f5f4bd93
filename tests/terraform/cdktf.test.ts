import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { matching, stackPatterns } from "../../pool/cli/cdktf.ts";
import type { StackInputs } from "../../pool/terraform/stack-inputs.ts";
import { machineInput, platformInput, type Rig, startRig } from "./rig.ts";

const program = fileURLToPath(new URL("../../node_modules/.bin/cdktf", import.meta.url));

describe("the cdktf command", function () {
  // The CDK's command line takes 2 s to start, and runs main.ts and terraform on top.
  this.timeout(180_000);
  let rig: Rig;
  let inputs: StackInputs;
  let temp: string;
  let stateDir: string;

  before(async () => {
    rig = await startRig();
    const { ids } = await rig.terraform.applyPlatform(platformInput, rig.access);
    const machines = ["claw-test-one", "claw-test-two"].map((name) => machineInput(ids, name));
    for (const machine of machines) await rig.terraform.applyMachine(machine, rig.access);
    inputs = { platform: platformInput, machines, stateDir: rig.root };
  });
  after(() => rig.close());

  beforeEach(async () => {
    temp = await mkdtemp(join(tmpdir(), "clawpool-people-"));
    stateDir = join(temp, "state");
    await mkdir(stateDir);
    await writeFile(join(temp, "stacks.json"), JSON.stringify(inputs));
    rig.hetzner.clearCalls();
  });
  afterEach(() => rm(temp, { recursive: true, force: true }));

  const cdktf = (args: string[], env: Record<string, string>) =>
    execa(program, args, {
      cwd: temp,
      reject: false,
      all: true,
      stdin: "ignore",
      extendEnv: false,
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        // Its private folders must be gone at the end.
        TMPDIR: temp,
        CI: "1",
        FORCE_COLOR: "0",
        TF_CLI_CONFIG_FILE: rig.cliConfig,
        CLAWPOOL_STATE_DIR: stateDir,
        ...env,
      },
    });
  const person = () => ({
    CLAWPOOL_STACKS: join(temp, "stacks.json"),
    HCLOUD_TOKEN: rig.hetzner.token,
    HCLOUD_ENDPOINT: rig.hetzner.endpoint,
  });
  const changing = () => rig.hetzner.calls().filter(({ method }) => method !== "GET");

  it("lists platform and machines without a daemon and without a token", async () => {
    const { all, exitCode } = await cdktf(["list"], { CLAWPOOL_STACKS: join(temp, "stacks.json") });
    assert.equal(exitCode, 0, all);
    for (const name of ["platform", "claw-test-one", "claw-test-two"])
      assert.match(all, new RegExp(`^${name} `, "m"));
  });

  it("shows no difference on a live machine that the daemon made", async () => {
    const { all, exitCode } = await cdktf(["diff", "claw-test-one"], person());
    assert.equal(exitCode, 0, all);
    assert.match(all, /No changes\./);
    assert.deepEqual(changing(), []);
    assert.deepEqual((await readdir(temp)).sort(), ["stacks.json", "state"]);
  });

  it("says how to go on without daemon and token", async () => {
    const { all, exitCode } = await cdktf(["diff", "platform"], {
      CLAWPOOL_STACKS: join(temp, "stacks.json"),
    });
    assert.equal(exitCode, 1);
    assert.match(all, /clawpool serve.*set HCLOUD_TOKEN/);
  });

  describe("with a daemon", () => {
    let daemon: Server;
    let requests: { path: string; body: Record<string, unknown> }[];
    let busy: string | null;

    beforeEach(async () => {
      requests = [];
      busy = null;
      daemon = createServer(async (request, response) => {
        let text = "";
        for await (const chunk of request) text += chunk;
        const body = JSON.parse(text) as Record<string, unknown>;
        requests.push({ path: request.url ?? "", body });
        const stacks = (body.stacks ?? []) as string[];
        const refused = busy !== null && stacks.length > 0;
        response.writeHead(refused ? 409 : 200, { "content-type": "application/json" });
        const { token, endpoint } = rig.hetzner;
        response.end(
          JSON.stringify(
            refused ? { detail: busy } : { id: `g${requests.length}`, endpoint, token, stacks: inputs },
          ),
        );
      });
      await new Promise<void>((resolve) => daemon.listen(join(stateDir, "admin.sock"), resolve));
    });
    afterEach(async () => {
      daemon.closeAllConnections();
      await new Promise<void>((resolve) => daemon.close(() => resolve()));
    });

    it("locks what a pattern means, works with the token it was given, and gives the lock back", async () => {
      const { all, exitCode } = await cdktf(["deploy", "claw-*-two", "--auto-approve"], {});
      assert.equal(exitCode, 0, all);
      assert.match(all, /No changes\./);
      assert.deepEqual(
        requests.map(({ path, body }) => [path, body.command ?? body.exitCode, body.stacks ?? body.id]),
        [
          ["/people/begin", "list", []],
          ["/people/end", 0, "g1"],
          ["/people/begin", "deploy", ["claw-test-two"]],
          ["/people/end", 0, "g3"],
        ],
      );
      assert.ok(!all.includes(rig.hetzner.token));
    });

    it("tells a person who works on the machine now", async () => {
      busy = "the daemon works on claw-test-one now (preparing); try again when it has finished";
      const { all, exitCode } = await cdktf(["destroy", "claw-test-one", "--auto-approve"], {});
      assert.equal(exitCode, 1);
      assert.ok(all.includes(busy), all);
      assert.deepEqual(rig.hetzner.calls(), []);
    });

    it("destroys the one machine that a person named", async () => {
      const { all, exitCode } = await cdktf(["destroy", "claw-test-one", "--auto-approve"], {});
      assert.equal(exitCode, 0, all);
      assert.equal((await rig.terraform.state("claw-test-one"))?.resources, 0);
      assert.equal((await rig.terraform.state("claw-test-two"))?.resources, 1);
      assert.deepEqual(requests.at(-1), { path: "/people/end", body: { id: "g3", exitCode: 0 } });
    });
  });

  it("finds the stacks among the words of a command", () => {
    const args = ["destroy", "--auto-approve", "a", "--parallelism", "3", "--var", "x=y", "b*", "--no-color"];
    assert.deepEqual(stackPatterns(args, "destroy"), ["a", "b*"]);
    assert.deepEqual(matching(inputs, ["claw-*"]), ["claw-test-one", "claw-test-two"]);
    assert.deepEqual(matching(inputs, ["platform", "nobody"]), ["platform"]);
    assert.deepEqual(matching({ ...inputs, machines: [] }, []), ["platform"]);
    assert.deepEqual(matching(inputs, []), []);
  });
});
