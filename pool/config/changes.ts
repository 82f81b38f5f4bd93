/** What is another in a new configuration, by path (`pools.small-eu.minReady`). Secrets are named and never shown. */
import { Secret } from "../secrets/secret.ts";

export interface ConfigChange {
  readonly before: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
}

/** Paths that are on one side only are left out on the other. */
export function configChange(before: object, after: object): ConfigChange {
  const [old, now] = [new Map(leaves(before)), new Map(leaves(after))];
  const paths = [...new Set([...old.keys(), ...now.keys()])].filter(
    (path) => comparable(old.get(path)) !== comparable(now.get(path)),
  );
  const pick = (side: ReadonlyMap<string, unknown>) =>
    Object.fromEntries(paths.filter((path) => side.has(path)).map((path) => [path, shown(side.get(path))]));
  return { before: pick(old), after: pick(now) };
}

/** Secrets are compared by their text, which never leaves this function (`toJSON` would make them all alike). */
export function comparable(value: unknown): string {
  if (value instanceof Secret) return JSON.stringify(value.expose());
  if (Array.isArray(value)) return `[${value.map(comparable).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  return `{${Object.entries(value)
    .map(([key, item]) => `${key}:${comparable(item)}`)
    .join()}}`;
}

const shown = (value: unknown) => (value instanceof Secret ? value.toJSON() : value);

/** Items of a list go by their name where they have one: another pool in front does not move all those behind it. */
function* leaves(value: object, path = ""): Generator<[string, unknown]> {
  for (const [key, item] of Object.entries(value)) {
    const name = Array.isArray(value) && typeof item?.name === "string" ? item.name : key;
    const here = path === "" ? name : `${path}.${name}`;
    if (typeof item === "object" && item !== null && !(item instanceof Secret)) yield* leaves(item, here);
    else yield [here, item];
  }
}
