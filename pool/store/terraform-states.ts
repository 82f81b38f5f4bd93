/** What terraform's runs left behind: the other half of each machine's row, kept so that a state file that is not the same can be told. */
import type { StoreContext } from "./context.ts";
import type { RememberedState, Store } from "./store.ts";

export function stateVerbs({
  db,
  clock,
  write,
}: StoreContext): Pick<Store, "terraformState" | "rememberState"> {
  return {
    terraformState: (name) =>
      db
        .prepare<[string], RememberedState>(
          `SELECT at, lineage, serial, resources, server_id AS serverId, document FROM terraform_state WHERE stack = ?`,
        )
        .get(name) ?? null,

    // No audit row: it comes with the run's own, which says what was changed.
    rememberState: (name, state) =>
      write(() => {
        if (state === null) return void db.prepare("DELETE FROM terraform_state WHERE stack = ?").run(name);
        db.prepare(
          `INSERT INTO terraform_state (stack, at, lineage, serial, resources, server_id, document)
           VALUES (@name, @at, @lineage, @serial, @resources, @serverId, @document)
           ON CONFLICT (stack) DO UPDATE SET at = excluded.at, lineage = excluded.lineage, serial = excluded.serial,
             resources = excluded.resources, server_id = excluded.server_id, document = excluded.document`,
        ).run({ ...state, name, at: clock.now() });
      }),
  };
}
