import { strict as assert } from "node:assert";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cached, recipeKey } from "../../pool/setup/cache.ts";

describe("the content-keyed cache", () => {
  let root: string;
  let before: string | undefined;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "clawpool-cache-"));
    before = process.env.CLAWPOOL_CACHE;
    process.env.CLAWPOOL_CACHE = root;
  });
  afterEach(async () => {
    if (before === undefined) delete process.env.CLAWPOOL_CACHE;
    else process.env.CLAWPOOL_CACHE = before;
    await rm(root, { recursive: true, force: true });
  });

  it("builds once for a key, however many ask at the same time", async () => {
    let builds = 0;
    const build = async (dir: string) => {
      builds++;
      await writeFile(join(dir, "made"), "x");
    };
    const entries = await Promise.all(Array.from({ length: 5 }, () => cached("thing", "k1", build)));
    assert.equal(builds, 1);
    assert.equal(entries.filter((entry) => entry.built).length, 1);
    assert.equal(new Set(entries.map((entry) => entry.dir)).size, 1);
  });

  it("leaves nothing of a build that failed, and builds again when asked again", async () => {
    const failing = cached("thing", "k2", async (dir) => {
      await writeFile(join(dir, "half"), "x");
      throw new Error("no disk");
    });
    await assert.rejects(failing, /no disk/);
    assert.deepEqual(await readdir(root), []);
    assert.equal((await cached("thing", "k2", async () => {})).built, true);
  });

  it("takes over from a process that died while building", async () => {
    await writeFile(join(root, "thing-k3.lock"), "999999999");
    assert.equal((await cached("thing", "k3", async () => {})).built, true);
  });

  it("makes keys that tell ['ab','c'] from ['a','bc']", () => {
    assert.notEqual(recipeKey("ab", "c"), recipeKey("a", "bc"));
  });
});
