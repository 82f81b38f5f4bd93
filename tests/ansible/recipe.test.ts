import { strict as assert } from "node:assert";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scrubber } from "../../pool/ansible/playbook.ts";
import { recipeOf } from "../../pool/ansible/recipe.ts";
import { Secret } from "../../pool/secrets/secret.ts";

describe("the recipe of a preparation", () => {
  let dir: string;
  let playbook: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "clawpool-recipe-"));
    playbook = join(dir, "play.yml");
    await writeFile(playbook, "- hosts: all\n");
    await mkdir(join(dir, "files"));
    await writeFile(join(dir, "files", "one"), "1");
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it("is the same for the same files and vars, in whatever order they are written", async () => {
    assert.equal(
      await recipeOf({ playbook, vars: { a: 1, b: { c: 2, d: 3 } } }),
      await recipeOf({ playbook, vars: { b: { d: 3, c: 2 }, a: 1 } }),
    );
  });

  it("changes with a file's content or name and with a var", async () => {
    const seen = new Set([await recipeOf({ playbook })]);
    seen.add(await recipeOf({ playbook, vars: { version: "1" } }));
    await writeFile(join(dir, "files", "one"), "2");
    seen.add(await recipeOf({ playbook }));
    await writeFile(join(dir, "files", "two"), "2");
    seen.add(await recipeOf({ playbook }));
    assert.equal(seen.size, 4);
  });
});

describe("the scrubber of ansible's output", () => {
  it("cuts secrets out as they are and as JSON writes them, line by line", () => {
    const scrub = scrubber([new Secret('first-line-"1"\nsecond-line-2'), new Secret("abc")]);
    assert.equal(scrub('{"m": "first-line-\\"1\\"\\nsecond-line-2"}'), '{"m": "[secret]"}');
    assert.equal(scrub('x first-line-"1" y'), "x [secret] y");
    assert.equal(scrub("x second-line-2 y"), "x [secret] y");
    assert.equal(scrub("the alphabet: abc"), "the alphabet: abc");
  });
});
