/** The shape of a JSON object: the type of each field, by its path. */

export type Shape = Record<string, string>;
export type Shapes = Record<string, Shape>;

/** Free text of the seller: what keys it has is nobody's contract. */
const opaque = ["metadata"];

/**
 * `{"a": {"b": [1]}}` is `{"a": "object", "a.b": "array", "a.b[]": "number"}`. An object of a kind of its own (a price
 * in a subscription's item) is named, not described: it has a shape of its own.
 */
export function shapeOf(value: unknown, path = ""): Shape {
  const type = typeOf(value);
  const here = path === "" ? {} : { [path]: type };
  if (Array.isArray(value)) {
    const items = value.map((item) => shapeOf(item, `${path}[]`));
    return Object.assign(here, ...items);
  }
  if (type !== "object" && !(path === "" && type !== "null")) return here;
  const fields = Object.entries(value as Record<string, unknown>).filter(([name]) => !opaque.includes(name));
  return Object.assign(
    here,
    ...fields.map(([name, inner]) => shapeOf(inner, path === "" ? name : `${path}.${name}`)),
  );
}

/** `string`, `number`, `boolean`, `null`, `array`, `object`, or the kind of an object that has one. */
export function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value !== "object") return typeof value;
  const kind = (value as { object?: unknown }).object;
  // A list belongs to what holds it.
  return typeof kind === "string" && kind !== "list" ? kind : "object";
}
