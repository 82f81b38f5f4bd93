/** Whether the store is in quarantine: its rows may be older than the world, so it neither buys, claims nor destroys. */
import type { StoreContext } from "./context.ts";

export interface Quarantine {
  /** Epoch ms. */
  readonly since: number;
  /** In words: which backup was restored, or that the database was lost. */
  readonly why: string;
}

/** The setting that holds it, as JSON. */
export const quarantineSetting = "quarantine";

/** What the last look at its machines found, as JSON (pool/recovery/findings.ts); nothing of it counts in a later quarantine. */
export const findingsSetting = "quarantine/findings";

export function readQuarantine({ db, known }: Pick<StoreContext, "db" | "known">): Quarantine | null {
  return known("setting", "quarantine, parsed", () => {
    const row = db
      .prepare<[string], { value: string }>("SELECT value FROM setting WHERE key = ?")
      .get(quarantineSetting);
    return row ? (JSON.parse(row.value) as Quarantine) : null;
  });
}
