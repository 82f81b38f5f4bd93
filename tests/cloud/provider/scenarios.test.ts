import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { type Played, play } from "./play.ts";
import { readRules } from "./rules.ts";
import { scenarios } from "./scenarios.ts";
import { shortSchema } from "./schema.ts";
import { openTerraformFolder, providerSource } from "./terraform-folder.ts";

const recorded = async <T>(name: string): Promise<T> =>
  JSON.parse(await readFile(new URL(name, import.meta.url), "utf8")) as T;

// What is recorded is of the real provider 1.68.0 (record.ts); this suite holds whichever provider is in the mirror,
// the stand-in or a real one, against it.
describe("the provider in the mirror, held against the real 1.68.0", function () {
  // The real one waits for seconds between its tries, where the stand-in is told not to.
  this.timeout(300_000);

  it("has its schema, attribute by attribute", async () => {
    const wanted = await recorded<object>("schema.json");
    const folder = await openTerraformFolder("http://127.0.0.1:1/v1");
    try {
      const { stdout } = await folder.run(["providers", "schema", "-json"]);
      const all = shortSchema(stdout, providerSource);
      const here = Object.fromEntries(Object.keys(wanted).map((type) => [type, all[type]]));
      assert.deepEqual(here, wanted);
      if (!folder.realProvider) assert.deepEqual(Object.keys(all).sort(), Object.keys(wanted).sort());
    } finally {
      await folder.close();
    }
  });

  it("replaces what it replaces and changes the rest in place", async () => {
    assert.deepEqual(await readRules(), await recorded("rules.json"));
  });

  it("is held against it in every scenario that was recorded, and in no other", async () => {
    assert.deepEqual(
      scenarios.map(({ name }) => name),
      Object.keys(await recorded<object>("scenarios.json")),
    );
  });

  describe("does the same as the real one", () => {
    const playing = new Map<string, Promise<Played[]>>();
    // Terraform waits for itself a good deal of the time: several at once.
    before(() => {
      let running: Promise<unknown>[] = [Promise.resolve(), Promise.resolve(), Promise.resolve()];
      for (const scenario of scenarios) {
        const [first, ...others] = running;
        const played = Promise.resolve(first).then(() => play(scenario));
        // Each `it` sees what became of its own.
        running = [...others, played.catch(() => {})];
        playing.set(scenario.name, played);
        played.catch(() => {});
      }
    });
    after(() => Promise.allSettled(playing.values()));

    for (const { name } of scenarios) {
      it(name, async () => {
        const wanted = (await recorded<Record<string, Played[]>>("scenarios.json"))[name];
        assert.deepEqual(JSON.parse(JSON.stringify(await playing.get(name))), wanted);
      });
    }
  });
});
