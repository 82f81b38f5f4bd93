/**
 * The schema of a terraform provider in short: one line for each attribute and block, without prose. `schema.json` is
 * that of hetznercloud/hcloud 1.68.0, for the types that the stand-in has.
 */

/** `number, optional, computed`; a block or nested object has its own members, and its kind at `""`. */
export interface ShortBlock {
  readonly [member: string]: string | ShortBlock;
}

/** By `provider`, `resource hcloud_server` and `data hcloud_server`. */
export type ShortSchema = Readonly<Record<string, ShortBlock>>;

type Json = Readonly<Record<string, unknown>>;

/** Prose: other builds of the same version may have other texts. */
const prose = new Set(["description", "description_kind", "deprecation_message"]);
const flags = ["required", "optional", "computed", "sensitive", "write_only", "deprecated"];

/**
 * @param output of `terraform providers schema -json`
 * @throws Error when it says something that the short form has no place for, so that nothing goes uncompared
 */
export function shortSchema(output: string, provider: string): ShortSchema {
  const { provider_schemas } = JSON.parse(output) as { provider_schemas: Record<string, Json> };
  const schemas = provider_schemas[provider];
  if (!schemas) throw new Error(`no schema of ${provider}`);
  const typed = (kind: string, of: unknown) =>
    Object.entries((of ?? {}) as Record<string, Json>).map(([type, schema]) => [
      `${kind} ${type}`,
      top(schema),
    ]);
  return Object.fromEntries([
    ["provider", top(schemas.provider as Json)],
    ...typed("resource", schemas.resource_schemas),
    ...typed("data", schemas.data_source_schemas),
  ]);
}

function top(schema: Json): ShortBlock {
  refuseOthers(schema, ["version", "block"]);
  return { "": `version ${schema.version}`, ...members(schema.block as Json) };
}

function members(block: Json): ShortBlock {
  refuseOthers(block, ["attributes", "block_types", "deprecated"]);
  const attributes = Object.entries((block.attributes ?? {}) as Record<string, Json>);
  const blocks = Object.entries((block.block_types ?? {}) as Record<string, Json>);
  return Object.fromEntries(
    [
      ...attributes.map(([name, value]) => [name, attribute(value)] as const),
      ...blocks.map(([name, value]) => [name, nestedBlock(value)] as const),
    ].sort(([a], [b]) => a.localeCompare(b)),
  );
}

function attribute(value: Json): string | ShortBlock {
  refuseOthers(value, ["type", "nested_type", ...flags]);
  const said = flags.filter((flag) => value[flag] === true);
  const nested = value.nested_type as Json | undefined;
  if (!nested) return [typeName(value.type), ...said].join(", ");
  refuseOthers(nested, ["attributes", "nesting_mode"]);
  return {
    "": [`${nested.nesting_mode} of objects`, ...said].join(", "),
    ...members({ attributes: nested.attributes }),
  };
}

function nestedBlock(value: Json): ShortBlock {
  refuseOthers(value, ["nesting_mode", "block", "min_items", "max_items"]);
  const { nesting_mode, min_items = 0, max_items = "any" } = value;
  return { "": `${nesting_mode} of blocks, ${min_items} to ${max_items}`, ...members(value.block as Json) };
}

/** `["set", ["object", {"a": "string"}]]` is `set(object(a: string))`. */
function typeName(type: unknown): string {
  if (!Array.isArray(type)) return String(type);
  const [name, of] = type;
  if (name !== "object") return `${name}(${typeName(of)})`;
  return `object(${Object.entries(of).map(([key, inner]) => `${key}: ${typeName(inner)}`)})`;
}

function refuseOthers(value: Json, known: readonly string[]): void {
  const other = Object.keys(value).find((key) => !known.includes(key) && !prose.has(key));
  if (other) throw new Error(`the schema has ${other}, which the short form does not`);
}
