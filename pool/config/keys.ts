/** What clawpool.yaml has at a path, by its JSON Schema: which keys, and how a value is written. */
import { durationPattern, durationText } from "./duration.ts";
import { jsonSchema } from "./shape.ts";

type Path = readonly PropertyKey[];

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly pattern?: string;
  readonly format?: string;
}

let schema: SchemaNode | null = null;

function nodeAt(path: Path): SchemaNode | undefined {
  schema ??= jsonSchema() as SchemaNode;
  let node = opened(schema);
  for (const key of path) {
    const { properties, additionalProperties, items }: SchemaNode = node ?? {};
    const additional = typeof additionalProperties === "object" ? additionalProperties : undefined;
    node = opened(items ?? properties?.[String(key)] ?? additional);
  }
  return node;
}

/** Of a choice (`null` or a section, `null` or a text) the one that says more. */
const opened = (node: SchemaNode | undefined): SchemaNode | undefined =>
  node?.anyOf?.find(({ properties }) => properties) ?? node?.anyOf?.find(({ pattern }) => pattern) ?? node;

/** The keys that there may be at a path. */
export const knownKeys = (path: Path): string[] => Object.keys(nodeAt(path)?.properties ?? {});

/** A value as one would write it: milliseconds as a duration, a moment as a time. */
export function asWritten(path: Path, value: unknown): unknown {
  if (typeof value !== "number") return value;
  const { pattern, format } = nodeAt(path) ?? {};
  if (pattern === durationPattern.source) return durationText(value);
  return format === "date-time" ? new Date(value).toISOString() : value;
}
