/**
 * Makes `shapes.json`: for each kind of object which fields Stripe's own examples have and of what type, and nothing
 * of their values. `node bin/dev.mjs tests/cloud/stripe/samples/extract.ts FOLDER`, where FOLDER has the objects of
 * Stripe's OpenAPI fixtures (github.com/stripe/openapi, openapi/fixtures3.json), each in a file `openapi.KIND.json`,
 * and any number of events' `data` as `*.data.*.json`.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Shapes, shapeOf } from "./shapes.ts";

/** Written under old and new API versions at once: its fields say nothing about the pinned one. */
const mixed = ["pay-rails.data.subscription.updated.json"];

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("name the folder with Stripe's examples");
const shapes: Shapes = {};
for (const file of readdirSync(folder).sort()) {
  if (!file.endsWith(".json") || mixed.includes(file) || !/^openapi\.|\.data\./.test(file)) continue;
  const json = JSON.parse(readFileSync(join(folder, file), "utf8"));
  const object = file.includes(".data.") ? json.object : json;
  const kind = String(object.object);
  for (const [path, type] of Object.entries(shapeOf(object))) {
    const known = shapes[kind]?.[path];
    // An example where the field is empty says nothing about its type.
    shapes[kind] = { ...shapes[kind], [path]: known === undefined || known === "null" ? type : known };
  }
}
const target = fileURLToPath(new URL("shapes.json", import.meta.url));
writeFileSync(target, `${JSON.stringify(shapes, null, 1)}\n`);
