/** What is another in a new configuration, by the key as it is written (`pools.small-eu.min_ready`). */
import { Secret } from "../secrets/secret.ts";
import { asWritten } from "./keys.ts";
import type { ConfigFile } from "./shape.ts";

export interface ConfigChange {
  readonly before: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
}

/**
 * Keys that are on one side only are left out on the other. A key that is written out now and has its default counts as
 * unchanged. Of secrets it tells where they are found, which is all that a file says of them.
 */
export function configChange(before: ConfigFile | null, after: ConfigFile): ConfigChange {
  const [old, now] = [new Map(leaves(before ?? {})), new Map(leaves(after))];
  const paths = [...new Set([...old.keys(), ...now.keys()])].filter(
    (path) => comparable(old.get(path)) !== comparable(now.get(path)),
  );
  const pick = (side: ReadonlyMap<string, unknown>) =>
    Object.fromEntries(paths.filter((path) => side.has(path)).map((path) => [path, side.get(path)]));
  return { before: pick(old), after: pick(now) };
}

/** The changed keys, each once. */
export const changedKeys = ({ before, after }: ConfigChange): string[] => [
  ...new Set([...Object.keys(before), ...Object.keys(after)]),
];

/** Secrets are compared by their text, which never leaves this function (`toJSON` would make them all alike). */
export function comparable(value: unknown): string {
  if (value instanceof Secret) return JSON.stringify(value.expose());
  if (Array.isArray(value)) return `[${value.map(comparable).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  return `{${Object.entries(value)
    .map(([key, item]) => `${key}:${comparable(item)}`)
    .join()}}`;
}

const isBranch = (value: unknown): value is object => typeof value === "object" && value !== null;

/**
 * Items of a list go by their name where they have one: another campaign in front does not move all those behind it.
 * A list of plain values is one leaf.
 */
function* leaves(value: object, path: readonly string[] = [], shown = ""): Generator<[string, unknown]> {
  for (const [key, item] of Object.entries(value)) {
    const name = Array.isArray(value) && typeof item?.name === "string" ? item.name : key;
    const here = shown === "" ? name : `${shown}.${name}`;
    const isList = Array.isArray(item) && !item.some(isBranch);
    if (isBranch(item) && !isList && Object.keys(item).length > 0) yield* leaves(item, [...path, key], here);
    else yield [here, asWritten([...path, key], item)];
  }
}
