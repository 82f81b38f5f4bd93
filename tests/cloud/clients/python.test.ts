/** Hetzner's own Python client (PyPI `hcloud`) against the emulator: one test an operation. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { publicKey } from "../hetzner/rig.ts";
import { type ClientRig, startClientRig } from "./rig.ts";
import { ensurePythonClients } from "./tools.ts";

const folder = fileURLToPath(new URL("./python/", import.meta.url));
const titles = ["surroundings", "servers", "attachments"].flatMap((name) =>
  [...readFileSync(join(folder, `${name}.py`), "utf8").matchAll(/^@operation\("(.*)"\)$/gm)].map(
    ([, title]) => title ?? "",
  ),
);

describe("Hetzner emulator: the Python client", function () {
  // The first run on a machine fetches it.
  this.timeout(180_000);
  let rig: ClientRig;
  const problems = new Map<string, string | null>();

  before(async () => {
    rig = await startClientRig();
    const { bin } = await ensurePythonClients();
    const { stdout } = await execa(join(bin, "python"), [join(folder, "run.py")], {
      env: {
        PYTHONDONTWRITEBYTECODE: "1",
        HCLOUD_ENDPOINT: rig.hetzner.endpoint,
        HCLOUD_TOKEN: rig.hetzner.token,
        PUBLIC_KEY: publicKey("p"),
      },
    });
    for (const line of stdout.split("\n")) {
      const { title, problem } = JSON.parse(line) as { title: string; problem: string | null };
      problems.set(title, problem);
    }
  });
  after(() => rig?.close());

  for (const title of titles) {
    it(title, () => {
      assert.equal(problems.get(title), null);
    });
  }

  it("runs 40 and more different operations, and leaves nothing to pay", () => {
    assert.ok(new Set(titles).size >= 40);
    assert.equal(problems.size, titles.length);
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
  });
});
