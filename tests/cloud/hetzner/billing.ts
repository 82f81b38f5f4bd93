import type { Clock } from "../../../pool/clock.ts";
import { hourlyNet, type Price } from "./catalogue/pricing.ts";
import type { Store } from "./store/store.ts";

/** `backup`: the surcharge of a server with backups; it has the server's id. */
export type BilledKind =
  | "server"
  | "backup"
  | "primary_ip"
  | "floating_ip"
  | "volume"
  | "snapshot"
  | "load_balancer";

export interface BillLine {
  readonly kind: BilledKind;
  readonly id: number;
  readonly project: number;
  readonly name: string;
  /** Server type, `ipv4` or `ipv6`, or a size as `10 GB`. */
  readonly type: string;
  readonly location: string;
  /** Milliseconds since the epoch. */
  readonly started: number;
  /** Null while it exists; set also when its price changed (another line goes on from there). */
  readonly ended: number | null;
  /** Started hours so far. */
  readonly hours: number;
  /** EUR net for those hours, each calendar month (UTC) capped at the monthly price. */
  readonly amount: number;
  /** EUR net for every further hour, as if there were no monthly cap (0 once it has ended). */
  readonly owedPerHour: number;
}

interface Sum {
  /** EUR net, all lines. */
  readonly total: number;
  /** EUR net that every further hour costs as things stand; 0 means nothing is left. */
  readonly owedPerHour: number;
}

export interface Bill extends Sum {
  readonly currency: "EUR";
  readonly lines: readonly BillLine[];
  readonly projects: readonly (Sum & { readonly project: number })[];
}

const hour = 3_600_000;
/** A hundredth of a GB of a snapshot costs 0.0000002 EUR an hour: fewer digits would hide what is still owed. */
const round = (amount: number) => Math.round(amount * 1e9) / 1e9;

/**
 * What Hetzner would charge: by the started hour up to the monthly price, for as long as the resource exists. A server
 * that is switched off costs the same (docs.hetzner.com, Cloud billing FAQ), and so does an address that is assigned
 * to nothing.
 */
export class Billing {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Prices are EUR net and stay those of the order, whatever a price list says later. */
  begin(
    item: {
      readonly kind: BilledKind;
      readonly id: number;
      readonly project: number;
      readonly name: string;
      readonly type: string;
      readonly location: string;
    } & Price,
  ): void {
    this.#store
      .prepare(
        `INSERT INTO usage_line (resource, project, kind, name, type, location, hourly, monthly, started)
         VALUES (:id, :project, :kind, :name, :type, :location, :hourly, :monthly, :started)`,
      )
      .run({ ...item, started: this.#clock.now() });
  }

  /**
   * From now on it has another type or size, and the price of that. The hour in which it changes is charged at both
   * prices, and each price has its own monthly cap.
   */
  change(kind: BilledKind, id: number, to: { readonly type: string } & Price): void {
    const open = this.#store
      .prepare(
        `SELECT resource AS id, project, kind, name, location FROM usage_line
         WHERE resource = ? AND kind = ? AND ended IS NULL`,
      )
      .get(id, kind) as Pick<BillLine, "id" | "project" | "kind" | "name" | "location"> | undefined;
    if (!open) throw new Error(`${kind} ${id} is not on the bill`);
    this.end(id, kind);
    this.begin({ ...open, ...to });
  }

  /** @param kind left out: all that is charged for the resource, a server's backups included */
  end(resource: number, kind?: BilledKind): void {
    this.#store
      .prepare(
        `UPDATE usage_line SET ended = :now
         WHERE resource = :resource AND ended IS NULL AND (:kind IS NULL OR kind = :kind)`,
      )
      .run({ now: this.#clock.now(), resource, kind: kind ?? null });
  }

  /** @param project left out: the whole account */
  bill(project?: number): Bill {
    const rows = this.#store
      .prepare(
        `SELECT resource AS id, project, kind, name, type, location, hourly, monthly, started, ended
         FROM usage_line WHERE :project IS NULL OR project = :project ORDER BY line`,
      )
      .all({ project: project ?? null }) as (Omit<BillLine, "hours" | "amount" | "owedPerHour"> & Price)[];
    const now = this.#clock.now();
    const lines = rows.map(({ hourly, monthly, ...row }): BillLine => {
      const { hours, amount } = charge(row.started, row.ended ?? now, hourly, monthly);
      return {
        ...row,
        hours,
        amount: round(amount),
        owedPerHour: row.ended === null ? rate(hourly, monthly) : 0,
      };
    });
    const projects = [...new Set(lines.map((line) => line.project))].sort((a, b) => a - b);
    return {
      currency: "EUR",
      lines,
      ...sum(lines),
      projects: projects.map((id) => ({ project: id, ...sum(lines.filter((line) => line.project === id)) })),
    };
  }
}

/** What is billed by the month is shown spread over its hours. */
const rate = (hourly: number, monthly: number) => (hourly < monthly ? round(hourly) : hourlyNet(monthly));

const sum = (lines: readonly BillLine[]): Sum => ({
  total: round(lines.reduce((total, line) => total + line.amount, 0)),
  owedPerHour: round(lines.reduce((total, line) => total + line.owedPerHour, 0)),
});

/** Started hours and their price; the first hour starts with the resource, so there is at least one. */
export function charge(
  started: number,
  ended: number,
  hourly: number,
  monthly: number,
): { hours: number; amount: number } {
  const hours = Math.max(1, Math.ceil((ended - started) / hour));
  let amount = 0;
  let counted = 0;
  while (counted < hours) {
    // An hour belongs to the month in which it starts.
    const at = started + counted * hour;
    const date = new Date(at);
    const nextMonth = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
    const inMonth = Math.min(hours - counted, Math.ceil((nextMonth - at) / hour));
    amount += Math.min(inMonth * hourly, monthly);
    counted += inMonth;
  }
  return { hours, amount };
}
