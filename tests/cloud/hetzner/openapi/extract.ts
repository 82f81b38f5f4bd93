/**
 * Makes responses.json and requests.json, the shapes of the answers and of the requests of every operation that is
 * implemented here, out of Hetzner's API description (https://docs.hetzner.cloud/cloud.spec.json):
 *
 *     CLAWPOOL_HETZNER_OPENAPI=cloud.spec.json node bin/dev.mjs tests/cloud/hetzner/openapi/extract.ts
 *
 * Only what decides whether an answer is right is kept (types, required keys, enumerations, limits), no prose and no
 * examples; shapes that occur several times stand once under $defs.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { routes } from "../routes.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface Extract {
  readonly $defs: Record<string, Json>;
  /** `GET /servers` to status to schema; null where the answer has no body. */
  readonly operations: Record<string, Record<string, Json>>;
}

export interface RequestShape {
  readonly parameters: readonly Json[];
  /** Null where there is none. */
  readonly body: Json;
}

export interface RequestExtract {
  readonly $defs: Record<string, Json>;
  readonly operations: Record<string, RequestShape>;
  /** What the description has and the emulator does not. */
  readonly leftOut: readonly string[];
}

const responsesFile = new URL("./responses.json", import.meta.url);
const requestsFile = new URL("./requests.json", import.meta.url);

/** Keywords of JSON Schema that say what is valid; `format` is left out because a validator need not know it. */
const kept = new Set([
  "type",
  "properties",
  "required",
  "items",
  "enum",
  "const",
  "pattern",
  "minimum",
  "maximum",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "prefixItems",
  "additionalProperties",
  "oneOf",
  "anyOf",
  "allOf",
]);

/** Below this many characters a reference is longer than the shape itself. */
const worthSharing = 120;

const isObject = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function at(value: Json | undefined, ...keys: string[]): Json | undefined {
  let current = value;
  for (const key of keys) current = isObject(current) ? current[key] : undefined;
  return current;
}

/** Strips schemas to what is kept, and puts what is long under `$defs`. */
function sharedShapes(keep: ReadonlySet<string>): {
  readonly $defs: Record<string, Json>;
  strip(schema: Json): Json;
} {
  const $defs: Record<string, Json> = {};
  const share = (schema: Json): Json => {
    const text = JSON.stringify(schema);
    if (text.length < worthSharing) return schema;
    const name = createHash("sha256").update(text).digest("hex").slice(0, 8);
    $defs[name] = schema;
    return { $ref: `#/$defs/${name}` };
  };
  const strip = (schema: Json): Json => {
    if (!isObject(schema)) return schema;
    const result: { [key: string]: Json } = {};
    for (const [key, value] of Object.entries(schema)) {
      if (!keep.has(key)) continue;
      if (key === "properties" && isObject(value)) {
        result[key] = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, strip(inner)]));
      } else if (Array.isArray(value) && ["oneOf", "anyOf", "allOf", "prefixItems"].includes(key)) {
        result[key] = value.map(strip);
      } else result[key] = key === "items" || key === "additionalProperties" ? strip(value) : value;
    }
    return share(result);
  };
  return { $defs, strip };
}

const methods = ["get", "post", "put", "patch", "delete"];

/** @param description the parsed API description */
export function extractResponses(description: Json): Extract {
  const { $defs, strip } = sharedShapes(kept);
  const operations: Extract["operations"] = {};
  for (const route of routes) {
    const responses = at(description, "paths", route.path, route.method.toLowerCase(), "responses");
    if (!isObject(responses)) throw new Error(`the description has no ${route.method} ${route.path}`);
    const shapes: Record<string, Json> = {};
    for (const [status, response] of Object.entries(responses)) {
      const schema = at(response, "content", "application/json", "schema");
      shapes[status] = schema === undefined ? null : strip(schema);
    }
    operations[`${route.method} ${route.path}`] = shapes;
  }
  return { $defs, operations };
}

/** @param description the parsed API description */
export function extractRequests(description: Json): RequestExtract {
  const { $defs, strip } = sharedShapes(new Set([...kept, "format", "minItems", "maxItems"]));
  const operations: RequestExtract["operations"] = {};
  const offered = new Set(routes.map(({ method, path }) => `${method} ${path}`));
  const leftOut: string[] = [];
  for (const [path, item] of Object.entries(at(description, "paths") ?? {})) {
    for (const method of methods.filter((name) => at(item, name) !== undefined)) {
      const name = `${method.toUpperCase()} ${path}`;
      if (!offered.has(name)) {
        leftOut.push(name);
        continue;
      }
      const parameters = at(item, method, "parameters");
      const body = at(item, method, "requestBody", "content", "application/json", "schema");
      operations[name] = {
        parameters: (Array.isArray(parameters) ? parameters : []).map((parameter) => ({
          name: at(parameter, "name") ?? null,
          in: at(parameter, "in") ?? null,
          required: at(parameter, "required") ?? false,
          schema: strip(at(parameter, "schema") ?? {}),
        })),
        body: body === undefined ? null : strip(body),
      };
    }
  }
  return { $defs, operations, leftOut };
}

/** The API description that CLAWPOOL_HETZNER_OPENAPI names; null when it names none. */
function namedDescription(): Json {
  const path = process.env.CLAWPOOL_HETZNER_OPENAPI;
  return path ? (JSON.parse(readFileSync(path, "utf8")) as Json) : null;
}

/** The extract of the description that CLAWPOOL_HETZNER_OPENAPI names, else the committed one. */
export function loadExtract(): Extract {
  const description = namedDescription();
  return description
    ? extractResponses(description)
    : (JSON.parse(readFileSync(responsesFile, "utf8")) as Extract);
}

/** Likewise. */
export function loadRequests(): RequestExtract {
  const description = namedDescription();
  return description
    ? extractRequests(description)
    : (JSON.parse(readFileSync(requestsFile, "utf8")) as RequestExtract);
}

if (import.meta.main) {
  if (!process.env.CLAWPOOL_HETZNER_OPENAPI) {
    console.error("set CLAWPOOL_HETZNER_OPENAPI to the path of Hetzner's API description");
    process.exitCode = 1;
  } else {
    writeFileSync(responsesFile, `${JSON.stringify(loadExtract(), null, 1)}\n`);
    writeFileSync(requestsFile, `${JSON.stringify(loadRequests(), null, 1)}\n`);
  }
}
