/** That each fault of the catalogue has its test, on the parts that the catalogue says. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { catalogue } from "./catalogue.ts";

const here = dirname(fileURLToPath(import.meta.url));
const means = { fault: "local cloud", simulated: "simulation", onParts: "parts" } as const;

describe("the catalogue of faults", () => {
  it("has 79, and a test for each, on the parts that it names", () => {
    const found: Record<string, Set<string>> = {};
    for (const file of readdirSync(here).filter((name) => name.endsWith(".test.ts"))) {
      const text = readFileSync(join(here, file), "utf8");
      for (const [, how = "", id = ""] of text.matchAll(/^ +(fault|simulated|onParts)\(\s*"([A-Z]\d+)"/gm)) {
        found[id] ??= new Set();
        found[id].add(means[how as keyof typeof means]);
      }
    }
    const wanted = Object.fromEntries(Object.entries(catalogue).map(([id, { on }]) => [id, [...on].sort()]));
    assert.equal(Object.keys(wanted).length, 79);
    assert.deepEqual(
      Object.fromEntries(Object.entries(found).map(([id, on]) => [id, [...on].sort()])),
      wanted,
    );
  });
});
