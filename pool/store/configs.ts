/** Configurations that were in force: the verbs of the daemon that applies them, and the list for who asks later. */
import type { Database } from "better-sqlite3";
import { canonicalJson } from "./audit-chain.ts";
import type { StoreContext } from "./context.ts";
import type { AppliedConfig, Store } from "./store.ts";
import { openForReading } from "./store-file.ts";

interface ConfigRow {
  readonly n: number;
  readonly at: number;
  readonly actor: string;
  readonly how: AppliedConfig["how"];
  readonly written: string;
  readonly change: string;
}

const columns = "SELECT n, at, actor, how, written, change FROM config_applied";

const applied = ({ written, change, ...row }: ConfigRow): AppliedConfig => ({
  ...row,
  written: JSON.parse(written),
  change: JSON.parse(change),
});

const last = (db: Database): AppliedConfig | null => {
  const row = db.prepare<[], ConfigRow>(`${columns} ORDER BY n DESC LIMIT 1`).get();
  return row ? applied(row) : null;
};

export function configVerbs({
  db,
  clock,
  history,
  write,
}: StoreContext): Pick<Store, "recordConfig" | "lastConfig"> {
  return {
    lastConfig: () => last(db),

    recordConfig: ({ actor, how, written, change }, { why, effect }) =>
      write(() => {
        const before = last(db);
        // Another order of the keys means nothing.
        if (before && canonicalJson(before.written) === canonicalJson(written)) return null;
        const row = { n: (before?.n ?? 0) + 1, at: clock.now(), actor, how };
        db.prepare(
          "INSERT INTO config_applied (n, at, actor, how, written, change) VALUES (@n, @at, @actor, @how, @written, @change)",
        ).run({ ...row, written: JSON.stringify(written), change: JSON.stringify(change) });
        const detail = { n: row.n, how, ...(effect === undefined ? {} : { effect }) };
        history.audit(actor, "config.applied", "configuration", { why, ...change, ...detail });
        return { ...row, written, change };
      }),
  };
}

/**
 * Those of a store's file, the oldest first.
 *
 * @throws Error with a sentence for the operator when the file is no store, or of a clawpool without such a list
 */
export function configHistory(file: string): AppliedConfig[] {
  const db = openForReading(file);
  try {
    if (!db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'config_applied'").get()) {
      throw new Error(
        `${file} has no list of configurations: an older clawpool wrote it. \`clawpool serve\` brings it up to date`,
      );
    }
    return db.prepare<[], ConfigRow>(`${columns} ORDER BY n`).all().map(applied);
  } finally {
    db.close();
  }
}
