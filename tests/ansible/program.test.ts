import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { programText } from "../../pool/ansible/program.ts";

describe("the hand-over program as one file", () => {
  it("needs nothing but Node's own modules, and refuses a frame that is none", async () => {
    const text = await programText();
    const imports = [...text.matchAll(/^import .* from "([^"]+)"/gm)].map((match) => match[1] ?? "");
    assert(imports.length > 0);
    assert.deepEqual(
      imports.filter((name) => !name.startsWith("node:")),
      [],
    );
    const dir = mkdtempSync(join(tmpdir(), "clawpool-program-"));
    try {
      writeFileSync(join(dir, "program.mjs"), text);
      writeFileSync(join(dir, "machine.json"), "{}");
      const run = spawnSync(process.execPath, [join(dir, "program.mjs")], {
        input: "hello\n",
        env: { CLAWPOOL_MACHINE_FILE: join(dir, "machine.json") },
        encoding: "utf8",
        timeout: 20_000,
      });
      assert.match(run.stdout, /"type":"failed"/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it("is the same text each time: its hash tells what a machine has", async () => {
    assert.equal(await programText(), await programText());
  });
});
