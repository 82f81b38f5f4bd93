import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createTerraform } from "../../pool/terraform/create-terraform.ts";
import { terraformError } from "../../pool/terraform/errors.ts";
import type { PlatformIds } from "../../pool/terraform/terraform.ts";
import { machineInput, platformInput, type Rig, startRig } from "./rig.ts";

describe("terraform runs", function () {
  this.timeout(180_000);
  let rig: Rig;
  let platform: PlatformIds;

  before(async () => {
    rig = await startRig();
    platform = (await rig.terraform.applyPlatform(platformInput, rig.access)).ids;
  });
  after(() => rig.close());
  beforeEach(() => rig.hetzner.clearCalls());

  const calls = () => rig.hetzner.calls().map(({ method, path }) => `${method} ${path.replace(/\?.*/, "")}`);

  it("give the platform's ids, and the same ones again without a change", async () => {
    const again = await rig.terraform.applyPlatform(platformInput, rig.access);
    assert.deepEqual(again.ids, platform);
    assert.deepEqual(again.result.changes, []);
    assert.equal(platform.placementGroups.length, 2);
  });

  it("create, relabel in place and destroy a machine; its logs stay", async () => {
    const input = machineInput(platform, "claw-test-life");
    const created = await rig.terraform.applyMachine(input, rig.access);
    assert.deepEqual(created.changes, [{ address: "hcloud_server.server", action: "create" }]);
    const state = await rig.terraform.state(input.name);
    assert.equal(state?.tainted, false);
    assert.ok(rig.backend.machines.has(state?.serverId ?? 0));

    const labelled = { ...input, labels: { ...input.labels, "clawpool-order": "o-1" } };
    const guard = state?.serverId ?? 0;
    const changed = await rig.terraform.applyMachine(labelled, rig.access, { guard });
    assert.deepEqual(changed.changes, [{ address: "hcloud_server.server", action: "update" }]);
    const nothing = await rig.terraform.applyMachine(labelled, rig.access, { guard });
    assert.deepEqual([nothing.ok, nothing.changes], [true, []]);

    await assert.rejects(rig.terraform.forget(input.name), { code: "state-not-empty" });
    assert.equal((await rig.terraform.destroyMachine(input.name, rig.access)).ok, true);
    assert.equal((await rig.terraform.state(input.name))?.resources, 0);
    assert.equal(rig.backend.machines.has(state?.serverId ?? 0), false);
    await rig.terraform.forget(input.name);
    assert.equal(await rig.terraform.state(input.name), null);
    assert.equal((await readdir(join(rig.root, "archive", input.name))).length, 4);
  });

  it("hand user data over byte by byte, whatever it looks like to terraform", async () => {
    const userData = "#cloud-config\n$" + "{x} %{ if true } $$" + "{y} $$$" + '{z} %%{ \\n "q" \t é $ % {}\n';
    const input = { ...machineInput(platform, "claw-test-bytes"), userData };
    assert.equal((await rig.terraform.applyMachine(input, rig.access)).ok, true);
    const id = (await rig.terraform.state(input.name))?.serverId ?? 0;
    assert.equal(rig.backend.machines.get(id)?.userData, userData);
    await rig.terraform.destroyMachine(input.name, rig.access);
  });

  it("leave no token in any file", async () => {
    const input = machineInput(platform, "claw-test-token");
    await rig.terraform.applyMachine(input, rig.access);
    const guard = (await rig.terraform.state(input.name))?.serverId ?? 0;
    await rig.terraform.applyMachine(input, rig.access, { guard });
    const folder = join(rig.root, "machines", input.name);
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const text = await readFile(join(entry.parentPath, entry.name), "latin1");
      assert.ok(!text.includes(rig.hetzner.token), entry.name);
      assert.ok(!text.includes(rig.hetzner.endpoint), entry.name);
    }
    await rig.terraform.destroyMachine(input.name, rig.access);
  });

  it("refuse each plan that could harm the machine's user, and send nothing", async () => {
    const input = machineInput(platform, "claw-test-guard");
    const none = rig.terraform.applyMachine(input, rig.access, { guard: 1 });
    await assert.rejects(none, { code: "plan-refused", message: /it would create hcloud_server/ });
    await rig.terraform.applyMachine(input, rig.access);
    const guard = (await rig.terraform.state(input.name))?.serverId ?? 0;
    rig.hetzner.clearCalls();
    const plans = [
      { input: { ...input, location: "nbg1" }, guard, why: /it would delete and create hcloud_server/ },
      { input: { ...input, serverType: "cx33" }, guard, why: /it would change server_type/ },
      { input, guard: guard + 1, why: new RegExp(`it is about server ${guard}, not ${guard + 1}`) },
    ];
    for (const plan of plans) {
      await assert.rejects(rig.terraform.applyMachine(plan.input, rig.access, { guard: plan.guard }), {
        code: "plan-refused",
        kind: "permanent",
        message: plan.why,
      });
    }
    assert.deepEqual(
      calls().filter((call) => !call.startsWith("GET ")),
      [],
    );
    await rig.terraform.destroyMachine(input.name, rig.access);
  });

  it("take a server into the state that lost it, and then find nothing to change but its labels", async () => {
    const input = machineInput(platform, "claw-test-import");
    await rig.terraform.applyMachine(input, rig.access);
    const made = await rig.terraform.state(input.name);
    const id = made?.serverId ?? 0;
    await rig.terraform.replaceState(input.name, null);
    assert.equal(await rig.terraform.state(input.name), null);
    const imported = await rig.terraform.importServer(input, id, rig.access);
    assert.deepEqual([imported.ok, imported.errors], [true, []]);
    const state = await rig.terraform.state(input.name);
    assert.deepEqual([state?.serverId, state?.tainted, state?.resources], [id, false, 1]);
    assert.notEqual(state?.lineage, made?.lineage);
    rig.hetzner.clearCalls();
    const labelled = { ...input, labels: { ...input.labels, "clawpool-order": "o-1" } };
    const changed = await rig.terraform.applyMachine(labelled, rig.access, { guard: id });
    assert.deepEqual([changed.errors, changed.changes.map(({ action }) => action)], [[], ["update"]]);
    assert.deepEqual(
      calls().filter((call) => !call.startsWith("GET ")),
      [`PUT /v1/servers/${id}`],
    );

    await rig.terraform.replaceState(input.name, made?.text ?? "");
    assert.deepEqual(await rig.terraform.state(input.name), made);
    assert.equal((await rig.terraform.destroyMachine(input.name, rig.access)).ok, true);
    assert.equal(rig.backend.machines.has(id), false);
  });

  it("save what terraform could not write, before anything else is done with the folder", async () => {
    const input = machineInput(platform, "claw-test-errored");
    await rig.terraform.applyMachine(input, rig.access);
    const state = (await rig.terraform.state(input.name)) ?? assert.fail();
    const folder = join(rig.root, "machines", input.name);
    // As on a full disk: the old file stays as it was, the new state goes to errored.tfstate.
    const newer = JSON.stringify({ ...JSON.parse(state.text), serial: state.serial + 1 });
    await writeFile(join(folder, "errored.tfstate"), newer);
    assert.equal((await rig.terraform.state(input.name))?.text, newer);
    assert.ok(!(await readdir(folder)).includes("errored.tfstate"));
    // An older one, or another machine's, is not taken.
    await writeFile(join(folder, "errored.tfstate"), state.text);
    assert.equal((await rig.terraform.state(input.name))?.text, newer);
    await writeFile(join(folder, "errored.tfstate"), newer.replace(state.lineage, "another"));
    assert.equal((await rig.terraform.state(input.name))?.text, newer);
    // The disk was full in the middle of it: terraform writes into the file that it has.
    const cut = join(folder, "terraform.tfstate");
    await writeFile(cut, state.text.slice(0, 100));
    await writeFile(join(folder, "errored.tfstate"), newer);
    assert.equal((await rig.terraform.state(input.name))?.text, newer);
    await rig.terraform.destroyMachine(input.name, rig.access);
  });

  it("say what a refused order means", async () => {
    const error = { code: "resource_unavailable", message: "error during placement" };
    rig.hetzner.faults.add({
      method: "POST",
      path: "/servers",
      effect: { kind: "answer", status: 412, error },
    });
    const result = await rig.terraform.applyMachine(machineInput(platform, "claw-test-stock"), rig.access);
    assert.equal(result.ok, false);
    assert.deepEqual(
      [terraformError(result).kind, terraformError(result).code],
      ["capacity", "resource_unavailable"],
    );
  });

  it("leave a server tainted after a failed poll, and take the taint away without touching it", async () => {
    const input = machineInput(platform, "claw-test-taint");
    const error = { code: "unavailable", message: "service unavailable" };
    rig.hetzner.faults.add({
      method: "GET",
      path: "/servers/*",
      effect: { kind: "answer", status: 503, error },
    });
    const result = await rig.terraform.applyMachine(input, rig.access);
    assert.equal(terraformError(result).kind, "transient");
    const tainted = await rig.terraform.state(input.name);
    assert.equal(tainted?.tainted, true);
    assert.equal((await rig.terraform.untaintServer(input.name, rig.access)).ok, true);
    const state = await rig.terraform.state(input.name);
    assert.deepEqual([state?.serverId, state?.tainted], [tainted?.serverId, false]);
    const next = await rig.terraform.applyMachine(input, rig.access, { guard: state?.serverId ?? 0 });
    assert.deepEqual(next.changes, []);
    await rig.terraform.destroyMachine(input.name, rig.access);
  });

  it("in one folder come one after the other", async () => {
    const input = machineInput(platform, "claw-test-queue");
    const results = await Promise.all([
      rig.terraform.applyMachine(input, rig.access),
      rig.terraform.applyMachine(input, rig.access),
      rig.terraform.destroyMachine(input.name, rig.access),
    ]);
    assert.deepEqual(
      results.map(({ changes }) => changes.map(({ action }) => action)),
      [["create"], [], ["delete"]],
    );
    assert.equal(calls().filter((call) => call === "POST /v1/servers").length, 1);
  });

  it("go on when the daemon is killed, and the next daemon waits for them", async () => {
    const input = machineInput(platform, "claw-test-killed");
    const proxy = await holdingProxy(rig.hetzner.endpoint, /^\/v1\/actions/);
    try {
      const document = { root: rig.root, cliConfig: rig.cliConfig, endpoint: proxy.endpoint, input };
      const script = fileURLToPath(new URL("./killed-daemon.ts", import.meta.url));
      const daemon = spawn(process.execPath, [script, JSON.stringify(document)], {
        env: { ...process.env, TOKEN: rig.hetzner.token },
        stdio: "ignore",
      });
      // The server is bought, and terraform waits for its action.
      await proxy.held;
      daemon.kill("SIGKILL");
      await once(daemon, "exit");

      const next = createTerraform({ root: rig.root, bin: "terraform", cliConfig: rig.cliConfig });
      const [leftover, ...others] = await next.leftovers();
      assert.equal(leftover?.name, input.name);
      assert.deepEqual(others, []);
      proxy.release();
      await leftover?.ended;
      const state = await next.state(input.name);
      assert.equal(state?.tainted, false);
      assert.ok(rig.backend.machines.has(state?.serverId ?? 0));
      assert.deepEqual(await next.leftovers(), []);
      assert.equal((await next.destroyMachine(input.name, rig.access)).ok, true);
    } finally {
      await proxy.close();
    }
  });
});

/** Passes everything on, and holds requests to `path` from the first one until `release`. */
async function holdingProxy(upstream: string, path: RegExp) {
  const target = new URL(upstream);
  const first = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const server = createServer(async (incoming, outgoing) => {
    if (path.test(incoming.url ?? "")) {
      first.resolve();
      await released.promise;
    }
    const passed = request(
      {
        host: target.hostname,
        port: target.port,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    passed.on("error", () => outgoing.destroy());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    held: first.promise,
    release: () => released.resolve(),
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
