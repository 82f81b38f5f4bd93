/** What Hetzner's own Python client makes of the faults that take time. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { type ClientRig, startClientRig } from "./rig.ts";
import { ensurePythonClients } from "./tools.ts";

const script = fileURLToPath(new URL("./python/faults.py", import.meta.url));

describe("Hetzner emulator: faults as the Python client shows them", function () {
  // The first run on a machine fetches it.
  this.timeout(180_000);
  let rig: ClientRig;
  let python: string;
  before(async () => {
    python = join((await ensurePythonClients()).bin, "python");
  });
  beforeEach(async () => {
    rig = await startClientRig();
  });
  afterEach(() => rig.close());

  async function run(name: string, token = rig.hetzner.token): Promise<unknown[]> {
    const env = { HCLOUD_ENDPOINT: rig.hetzner.endpoint, HCLOUD_TOKEN: token };
    const { stdout } = await execa(python, [script, name], { env });
    return stdout.split("\n").map((line) => JSON.parse(line) as unknown);
  }

  it("an answer that is too slow, before or after the change", async () => {
    const hour = 3_600_000;
    for (const when of ["before", "after"] as const) {
      rig.hetzner.faults.add({
        ...{ method: "POST", path: "/servers", body: { name: when } },
        effect: { kind: "delay", ms: hour, when },
      });
    }
    // A server that it was told nothing of stands in its own way.
    assert.deepEqual(await run("slow"), ["made", "uniqueness_error", ["before", "after"]]);
  });

  it("an action that never ends, until the fault is taken back", async () => {
    const id = rig.hetzner.faults.add({ command: "create_server", effect: { kind: "action_hangs" } });
    assert.deepEqual(await run("hangs"), [["timeout", "running"], "locked"]);
    rig.hetzner.faults.remove(id);
    assert.deepEqual(await run("ended"), ["success"]);
  });

  it("an action that fails late", async () => {
    const error = { code: "resource_in_use", message: "no" };
    rig.hetzner.faults.add({ command: "create_server", effect: { kind: "action_fails", error } });
    assert.deepEqual(await run("fails"), [["resource_in_use", "create_server"]]);
  });

  it("429 is repeated when it has its JSON", async () => {
    const get = { method: "GET", path: "/servers" } as const;
    rig.hetzner.faults.add({ ...get, effect: { kind: "error", code: "rate_limit_exceeded" } });
    assert.deepEqual(await run("limited"), [0]);
    assert.deepEqual(
      rig.hetzner.calls().map(({ status }) => status),
      [429, 200],
    );
  });

  it("refusals, with code, message and details", async () => {
    rig.hetzner.faults.add({ server: { type: "cx23" }, effect: { kind: "stock_out" } });
    assert.deepEqual(await run("refused"), [["resource_unavailable", "error during placement", null]]);
    const post = { method: "POST", path: "/servers" } as const;
    rig.hetzner.faults.add({ ...post, effect: { kind: "error", code: "resource_limit_exceeded" } });
    assert.deepEqual(await run("refused"), [
      ["resource_limit_exceeded", "server limit exceeded", { limits: [{ name: "server_limit" }] }],
    ]);
    assert.deepEqual(await run("refused", "0".repeat(64)), [
      ["unauthorized", "the token you have provided is invalid", null],
    ]);
  });
});
