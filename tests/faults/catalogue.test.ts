/** That each fault of the catalogue has its test, on the parts that the catalogue says. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { catalogue, evidence } from "./catalogue.ts";

const here = dirname(fileURLToPath(import.meta.url));
const means = { fault: "local cloud", simulated: "simulation", onParts: "parts" } as const;

/** Of each fault: on what it is tried, and the text of its tests. */
function readTests(): Map<string, { readonly on: Set<string>; text: string }> {
  const found = new Map<string, { readonly on: Set<string>; text: string }>();
  for (const file of readdirSync(here).filter((name) => name.endsWith(".test.ts"))) {
    const source = readFileSync(join(here, file), "utf8");
    const tests = [...source.matchAll(/^ +(fault|simulated|onParts)\(\s*"([A-Z]\d+)"/gm)];
    for (const [index, { 1: how = "", 2: id = "", index: from }] of tests.entries()) {
      const known = found.get(id) ?? { on: new Set(), text: "" };
      known.on.add(means[how as keyof typeof means]);
      known.text += source.slice(from, tests[index + 1]?.index);
      found.set(id, known);
    }
  }
  return found;
}

describe("the catalogue of faults", () => {
  it("has 79, and a test for each, on the parts that it names", () => {
    const wanted = Object.fromEntries(Object.entries(catalogue).map(([id, { on }]) => [id, [...on].sort()]));
    assert.equal(Object.keys(wanted).length, 79);
    assert.deepEqual(
      Object.fromEntries([...readTests()].map(([id, { on }]) => [id, [...on].sort()])),
      wanted,
    );
  });

  it("has tests that make the fault by what it says, and see that it was made", () => {
    const tests = readTests();
    const missing = Object.entries(evidence).flatMap(([id, list]) =>
      list.filter((expression) => !expression.test(tests.get(id)?.text ?? "")).map((one) => `${id}: ${one}`),
    );
    assert.deepEqual(missing, []);
  });
});
