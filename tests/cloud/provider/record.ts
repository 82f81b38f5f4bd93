/**
 * Writes down what the real provider is like: its schema, what it replaces, and what it does in the
 * scenarios. Run it when a scenario was
 * added, with a mirror that holds hetznercloud/hcloud 1.68.0:
 *
 *     CLAWPOOL_PROVIDER_MIRROR=… node bin/dev.mjs tests/cloud/provider/record.ts [part of a scenario's name]
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Played, play } from "./play.ts";
import { readRules } from "./rules.ts";
import { scenarios } from "./scenarios.ts";
import { shortSchema } from "./schema.ts";
import { openTerraformFolder, providerSource } from "./terraform-folder.ts";

if (!process.env.CLAWPOOL_PROVIDER_MIRROR) throw new Error("CLAWPOOL_PROVIDER_MIRROR names no real provider");

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const part = process.argv[2] ?? "";

const folder = await openTerraformFolder("http://127.0.0.1:1/v1");
try {
  const all = shortSchema((await folder.run(["providers", "schema", "-json"])).stdout, providerSource);
  const kept = Object.keys(JSON.parse(await readFile(file("schema.json"), "utf8")));
  await writeLines("schema.json", Object.fromEntries(kept.map((name) => [name, all[name]])));
} finally {
  await folder.close();
}

if (part === "") await writeLines("rules.json", await readRules());

const before = JSON.parse(await readFile(file("scenarios.json"), "utf8")) as Record<string, Played[]>;
const recorded = new Map(Object.entries(before));
// The real provider waits for seconds between its tries.
const left = scenarios.filter(({ name }) => !recorded.has(name) || name.includes(part));
await Promise.all(
  Array.from({ length: 3 }, async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      const begun = performance.now();
      recorded.set(next.name, await play(next));
      console.log(`${((performance.now() - begun) / 1_000).toFixed(1)} s  ${next.name}`);
      await writeLines(
        "scenarios.json",
        Object.fromEntries(scenarios.map(({ name }) => [name, recorded.get(name)])),
      );
    }
  }),
);

/** JSON in which what fits on a line is on one. */
async function writeLines(name: string, value: unknown): Promise<void> {
  await writeFile(file(name), `${lines(value, "")}\n`);
}

function lines(value: unknown, indent: string): string {
  const flat = JSON.stringify(value);
  if (typeof value !== "object" || value === null || indent.length + flat.length < 110) return flat;
  const deeper = `${indent} `;
  const items = Array.isArray(value)
    ? value.map((item) => deeper + lines(item, deeper))
    : Object.entries(value).map(([key, item]) => `${deeper}${JSON.stringify(key)}: ${lines(item, deeper)}`);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  return `${open}\n${items.join(",\n")}\n${indent}${close}`;
}
