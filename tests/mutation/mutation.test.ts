/** That the list of mutations fits the program as it is; `npm run mutate` tries them. */
import { strict as assert } from "node:assert";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { copyTree, objection } from "./mutate.ts";
import { mutations } from "./mutations.ts";

describe("the mutations", function () {
  this.timeout(120_000);

  it("all apply to the program as it is", () => {
    assert.deepEqual(
      mutations.flatMap((mutation) => objection(mutation) ?? []),
      [],
    );
  });

  it("are at least 30, each with a name of its own and with tests that exist", () => {
    assert(mutations.length >= 30);
    assert.equal(new Set(mutations.map(({ id }) => id)).size, mutations.length);
    const here = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));
    const absent = mutations
      .flatMap(({ caughtBy }) => caughtBy)
      .filter((name) => !existsSync(here(name)) && !existsSync(here(`${name}.test.ts`)));
    assert.deepEqual(absent, []);
  });

  it("are tried: one that matters is caught, one that changes no behaviour survives", async () => {
    const [matters] = mutations.filter(({ id }) => id === "first-secret-only");
    assert(matters);
    const copy = copyTree();
    try {
      const caught = await copy.tryMutation(matters);
      assert.equal(caught.verdict, "caught", caught.by ?? "");
      const idle = { ...matters, before: "const tolerance = 300;", after: "const tolerance = 150 + 150;" };
      assert.equal((await copy.tryMutation(idle)).verdict, "survived");
      const senseless = { ...matters, before: "const tolerance = 300;", after: "const tolerance = ;" };
      assert.equal((await copy.tryMutation(senseless)).verdict, "broken");
    } finally {
      copy.remove();
    }
  });
});
