/** The verbs about what machines cost: prices, what existed for how long, and the days' bills. */
import { minuteMs } from "../clock.ts";
import { ipv4Price, type PriceList, serverPrice } from "../cloud/prices.ts";
import type { Machine, MachineState } from "../machine/machine.ts";
import type { StoreContext } from "./context.ts";
import type {
  AgreedPrice,
  BilledResource,
  ListedSpan,
  RememberedPrices,
  SeenResource,
  Store,
} from "./store.ts";

type BillVerbs = Pick<
  Store,
  | "prices"
  | "rememberPrices"
  | "billed"
  | "recordSeen"
  | "listedSpans"
  | "machineStates"
  | "billDays"
  | "closeBillDay"
>;

/** How exactly the end of what is counted anyway is seen: a write a minute for each server would be most of the log. */
const seenEveryMs = 5 * minuteMs;
/** Looks further apart than this leave a gap. */
const longestGapMs = 15 * minuteMs;
/** Bills older than this are not compared any more. */
const spansKeptMs = 70 * 24 * 60 * minuteMs;
const spansSetting = "bill/listed";

interface PriceRow {
  since: number;
  readAt: number;
  document: string;
}

interface BilledRow extends Omit<BilledResource, "price" | "hasIpv4"> {
  price: string | null;
  hasIpv4: number;
}

const selectBilled = `SELECT kind, id, name, machine, pool, type, location, has_ipv4 AS hasIpv4, price,
  counted_from AS countedFrom, counted_until AS countedUntil, seen_from AS seenFrom, seen_until AS seenUntil
  FROM billed`;

const billedResource = (row: BilledRow): BilledResource => ({
  ...row,
  hasIpv4: row.hasIpv4 === 1,
  price: row.price === null ? null : JSON.parse(row.price),
});

function newestPrices({ db }: StoreContext): PriceRow | null {
  const query = "SELECT since, read_at AS readAt, document FROM price_list ORDER BY since DESC LIMIT 1";
  return db.prepare<[], PriceRow>(query).get() ?? null;
}

/** As JSON; null while no list was read. */
function agreedPrice(
  context: StoreContext,
  { kind, type, location, hasIpv4 }: Pick<SeenResource, "kind" | "type" | "location" | "hasIpv4">,
): string | null {
  const row = newestPrices(context);
  if (!row) return null;
  const prices: PriceList = JSON.parse(row.document);
  const address = ipv4Price(prices, location);
  const own = kind === "server" ? serverPrice(prices, { serverType: type, location }) : address;
  const agreed: AgreedPrice = {
    currency: prices.currency,
    own: own.known ? own.price : null,
    address: hasIpv4 && address.known ? address.price : null,
  };
  return JSON.stringify(agreed);
}

const isPriced = ({ price, hasIpv4 }: BilledResource): boolean =>
  price !== null && price.own !== null && (!hasIpv4 || price.address !== null);

/**
 * Follows a machine's row: from when it names a server until that is known to be gone, the server costs money. Inside of
 * the transaction that changes the row, so that no server is ever known and not counted.
 */
export function countServer(context: StoreContext, before: Machine | null, after: Machine): void {
  const { db, clock } = context;
  const now = clock.now();
  const ends = (id: number) =>
    db
      .prepare(
        "UPDATE billed SET counted_until = ? WHERE kind = 'server' AND id = ? AND counted_until IS NULL",
      )
      .run(now, id);
  const isGone = after.state === "destroyed";
  if (before && before.serverId !== null && before.serverId !== after.serverId) ends(before.serverId);
  if (after.serverId === null) return;
  if (isGone) {
    if (before?.state !== "destroyed") ends(after.serverId);
    return;
  }
  if (before?.serverId === after.serverId && before.state !== "destroyed") return;
  const { name, pool, serverType: type, location, serverId: id } = after;
  const price = agreedPrice(context, { kind: "server", type, location, hasIpv4: true });
  // A list may have shown it before; and a rebuilt row may know again what was closed.
  db.prepare(
    `INSERT INTO billed (kind, id, name, machine, pool, type, location, has_ipv4, price, counted_from)
     VALUES ('server', @id, @name, @name, @pool, @type, @location, 1, @price, @now)
     ON CONFLICT (kind, id) DO UPDATE SET machine = excluded.machine, pool = excluded.pool,
       counted_from = coalesce(counted_from, excluded.counted_from), counted_until = NULL`,
  ).run({ id, name, pool, type, location, price, now });
}

export function billVerbs(context: StoreContext): BillVerbs {
  const { db, clock, history, known, write } = context;
  const prices = (): RememberedPrices | null => {
    const row = newestPrices(context);
    return row && { ...JSON.parse(row.document), since: row.since, readAt: row.readAt };
  };
  const find = ({ kind, id }: Pick<SeenResource, "kind" | "id">): BilledResource | null => {
    const row = db
      .prepare<[string, number], BilledRow>(`${selectBilled} WHERE kind = ? AND id = ?`)
      .get(kind, id);
    return row ? billedResource(row) : null;
  };
  const listedSpans = (): ListedSpan[] =>
    JSON.parse(
      db.prepare<[string], { value: string }>("SELECT value FROM setting WHERE key = ?").get(spansSetting)
        ?.value ?? "[]",
    );

  /** Null while the newest span still says it. */
  function extended(now: number): ListedSpan[] | null {
    const spans = listedSpans();
    const last = spans.at(-1);
    if (last && now - last.until < seenEveryMs) return null;
    if (last && now - last.until <= longestGapMs) return [...spans.slice(0, -1), { ...last, until: now }];
    return [...spans.filter(({ until }) => now - until < spansKeptMs), { from: now, until: now }];
  }

  function see(resource: SeenResource, now: number): void {
    const { kind, id, name, type, location, createdAt } = resource;
    const { changes } = db
      .prepare(
        `UPDATE billed SET seen_from = coalesce(seen_from, @createdAt), seen_until = @now
         WHERE kind = @kind AND id = @id`,
      )
      .run({ kind, id, createdAt, now });
    if (changes === 1) return;
    db.prepare(
      `INSERT INTO billed (kind, id, name, type, location, has_ipv4, price, seen_from, seen_until)
       VALUES (@kind, @id, @name, @type, @location, @hasIpv4, @price, @createdAt, @now)`,
    ).run({
      ...{ kind, id, name, type, location, createdAt, now },
      hasIpv4: Number(resource.hasIpv4),
      price: agreedPrice(context, resource),
    });
  }

  return {
    prices: () => known("price_list", "newest", prices),

    rememberPrices: (list) =>
      write(() => {
        const now = clock.now();
        const before = newestPrices(context);
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
        for (const resource of db.prepare<[], BilledRow>(selectBilled).all().map(billedResource)) {
          if (isPriced(resource)) continue;
          const { kind, id } = resource;
          const price = agreedPrice(context, resource);
          db.prepare("UPDATE billed SET price = ? WHERE kind = ? AND id = ?").run(price, kind, id);
        }
        const why = before ? "Hetzner's prices are not what they were" : "Hetzner's prices were read";
        const facts = { currency: list.currency, types: Object.keys(list.servers).length };
        history.audit("daemon", "prices.read", "hetzner", { why, ...facts });
      }),

    billed: (from, until) =>
      db
        .prepare<{ from: number; until: number }, BilledRow>(
          `${selectBilled} WHERE min(coalesce(counted_from, seen_from), coalesce(seen_from, counted_from)) < @until
           AND ((counted_from IS NOT NULL AND counted_until IS NULL)
                OR max(coalesce(counted_until, 0), coalesce(seen_until, 0)) >= @from)
           ORDER BY coalesce(counted_from, seen_from), kind, id`,
        )
        .all({ from, until })
        .map(billedResource),

    recordSeen(seen) {
      const now = clock.now();
      const news = seen.filter((resource) => {
        const row = find(resource);
        const isCounted = row !== null && row.countedFrom !== null && row.countedUntil === null;
        return !isCounted || row.seenUntil === null || now - row.seenUntil >= seenEveryMs;
      });
      const spans = extended(now);
      if (news.length === 0 && spans === null) return;
      write(() => {
        for (const resource of news) see(resource, now);
        if (spans === null) return;
        db.prepare(
          "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        ).run(spansSetting, JSON.stringify(spans));
      });
    },

    listedSpans,

    machineStates: (name) =>
      db
        .prepare<[string], { at: number; state: MachineState }>(
          `SELECT at, json_extract(after, '$.state') AS state FROM audit
           WHERE subject = ? AND action LIKE 'machine.%' AND json_extract(after, '$.state') IS NOT NULL ORDER BY seq`,
        )
        .all(name),

    billDays: (from, until) =>
      db
        .prepare<[string, string], { day: string; document: string }>(
          "SELECT day, document FROM bill_day WHERE day >= ? AND day < ? ORDER BY day",
        )
        .all(from, until),

    closeBillDay: (day, document, why) =>
      write(() => {
        const now = clock.now();
        db.prepare("INSERT OR REPLACE INTO bill_day (day, closed_at, document) VALUES (?, ?, ?)").run(
          day,
          now,
          document,
        );
        history.audit("daemon", "bill.closed", day, { why });
      }),
  };
}
