/** The store for who only reads it: beside the daemon that writes it, without one, or of a backup. */
import { systemClock } from "../clock.ts";
import { createSealer, newSealingKey } from "../secrets/seal.ts";
import { keepStatements } from "./known-lists.ts";
import { migrations } from "./schema.ts";
import { storeOn } from "./sqlite.ts";
import type { Store } from "./store.ts";
import { openForReading } from "./store-file.ts";

/** Nothing of it is sealed. */
export type ReadableStore = Pick<
  Store,
  "prices" | "machines" | "builds" | "refill" | "demand" | "checkouts" | "close"
>;

/** @throws Error with a sentence for the operator when the file is no store of this release */
export function openStoreForReading(file: string): ReadableStore {
  const db = openForReading(file);
  const version = Number(db.pragma("user_version", { simple: true }));
  if (version === migrations.length) {
    const sealer = createSealer([newSealingKey()]);
    return storeOn(db, keepStatements(db), { sealer, clock: systemClock });
  }
  db.close();
  const remedy =
    version > migrations.length ? "use that release's command" : "`clawpool serve` brings it up to date";
  throw new Error(
    `${file} is of another release (schema ${version}, this one has ${migrations.length}): ${remedy}`,
  );
}
