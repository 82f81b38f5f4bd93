/** The verbs about what machines cost. */
import type { StoreContext } from "./context.ts";
import type { RememberedPrices, Store } from "./store.ts";

type BillVerbs = Pick<Store, "prices" | "rememberPrices">;

interface PriceRow {
  since: number;
  readAt: number;
  document: string;
}

export function billVerbs({ db, clock, history, known, write }: StoreContext): BillVerbs {
  const newest = () =>
    db
      .prepare<[], PriceRow>(
        "SELECT since, read_at AS readAt, document FROM price_list ORDER BY since DESC LIMIT 1",
      )
      .get() ?? null;
  const prices = (): RememberedPrices | null => {
    const row = newest();
    return row && { ...JSON.parse(row.document), since: row.since, readAt: row.readAt };
  };

  return {
    prices: () => known("price_list", "newest", prices),

    rememberPrices: (list) =>
      write(() => {
        const now = clock.now();
        const before = newest();
        const document = JSON.stringify(list);
        if (before?.document === document) {
          db.prepare("UPDATE price_list SET read_at = ? WHERE since = ?").run(now, before.since);
          return;
        }
        // A clock that was set back must not bring an older list to the front.
        const since = Math.max(now, (before?.since ?? 0) + 1);
        db.prepare("INSERT INTO price_list (since, read_at, document) VALUES (?, ?, ?)").run(
          since,
          now,
          document,
        );
        const why = before ? "Hetzner's prices are not what they were" : "Hetzner's prices were read";
        const facts = { currency: list.currency, types: Object.keys(list.servers).length };
        history.audit("daemon", "prices.read", "hetzner", { why, ...facts });
      }),
  };
}
