/** What a sweep is told of terraform's folders, and where one goes that is put away. */
import { strict as assert } from "node:assert";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTerraform } from "../../pool/terraform/create-terraform.ts";
import { VirtualClock } from "../virtual-clock.ts";

const state = (resources: number) =>
  JSON.stringify({
    version: 4,
    serial: 3,
    lineage: "l",
    resources: Array.from({ length: resources }, () => ({
      mode: "managed",
      type: "hcloud_server",
      instances: [{ attributes: { id: "7" } }],
    })),
  });

describe("terraform's folders", () => {
  let root: string;
  const terraform = () =>
    createTerraform({ root, bin: "terraform", cliConfig: null, clock: new VirtualClock() });
  const folder = (name: string, text: string | null) => {
    const path = join(root, "machines", name);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "cdk.tf.json"), "{}");
    if (text !== null) writeFileSync(join(path, "terraform.tfstate"), text);
    return path;
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "clawpool-folders-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it("are none before the first machine", async () => {
    assert.deepEqual(await terraform().survey(), []);
  });

  it("are listed with what their states hold; other things that lie there are not", async () => {
    folder("claw-a", state(1));
    folder("claw-b", state(0));
    folder("claw-c", null);
    folder("claw-d", "");
    folder("claw-e", "{");
    mkdirSync(join(root, "machines", "Not A Machine"));
    const folders = await terraform().survey();
    assert.deepEqual(
      folders.map(({ name, content, resources, isRunning }) => [name, content, resources, isRunning]),
      [
        ["claw-a", "resources", 1, false],
        ["claw-b", "nothing", 0, false],
        ["claw-c", "nothing", 0, false],
        ["claw-d", "cut-off", 0, false],
        ["claw-e", "unreadable", 0, false],
      ],
    );
    assert.ok(folders.every(({ changedAt }) => Math.abs(changedAt - Date.now()) < 60_000));
  });

  it("go to the archive as they are", async () => {
    const path = folder("claw-a", state(1));
    const to = await terraform().archive("claw-a");
    assert.equal(existsSync(path), false);
    assert.deepEqual(readdirSync(to).sort(), ["cdk.tf.json", "terraform.tfstate"]);
    assert.ok(to.startsWith(join(root, "archive", "claw-a-")));
    assert.throws(() => terraform().archive("../etc"), /cannot name a terraform stack/);
  });
});
