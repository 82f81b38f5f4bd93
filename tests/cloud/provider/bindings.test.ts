import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generateBindings } from "./bindings.ts";
import { ensureProviderMirror } from "./mirror.ts";

const committed = fileURLToPath(new URL("../../../.gen/providers/hcloud/", import.meta.url));

describe("the committed bindings", function () {
  this.timeout(120_000);

  it("are what the generator makes of the provider's schema", async () => {
    const dir = await mkdtemp(join(tmpdir(), "clawpool-bindings-test-"));
    try {
      await generateBindings(join(dir, "hcloud"));
      const made = (await readdir(join(dir, "hcloud"), { recursive: true })).sort();
      assert.deepEqual(made, (await readdir(committed, { recursive: true })).sort());
      for (const file of made.filter((name) => name.endsWith(".ts"))) {
        const text = await readFile(join(dir, "hcloud", file), "utf8");
        assert.equal(text, await readFile(join(committed, file), "utf8"), `${file}: run npm run bindings`);
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe("a named provider mirror", () => {
  const given = process.env.CLAWPOOL_PROVIDER_MIRROR;
  afterEach(() => {
    if (given === undefined) delete process.env.CLAWPOOL_PROVIDER_MIRROR;
    else process.env.CLAWPOOL_PROVIDER_MIRROR = given;
  });

  it("without the provider is refused by its name", async () => {
    process.env.CLAWPOOL_PROVIDER_MIRROR = "/nowhere";
    await assert.rejects(ensureProviderMirror(), /CLAWPOOL_PROVIDER_MIRROR=\/nowhere: no folder/);
  });

  it("is used as it is, by a CLI config that knows no other source", async () => {
    const { mirror } = await ensureProviderMirror();
    process.env.CLAWPOOL_PROVIDER_MIRROR = mirror;
    const named = await ensureProviderMirror();
    assert.deepEqual([named.mirror, named.real], [mirror, true]);
    const text = await readFile(named.cliConfigFile, "utf8");
    assert.ok(text.includes(JSON.stringify(mirror)) && !text.includes("direct"), text);
  });
});
