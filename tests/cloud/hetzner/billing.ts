import type { Clock } from "../../../pool/clock.ts";
import type { Store } from "./store/store.ts";

export interface BillLine {
  readonly kind: "server" | "primary_ip";
  readonly id: number;
  readonly project: number;
  readonly name: string;
  /** Server type, or `ipv4`. */
  readonly type: string;
  readonly location: string;
  /** Milliseconds since the epoch. */
  readonly started: number;
  /** Null while it exists. */
  readonly ended: number | null;
  /** Started hours so far. */
  readonly hours: number;
  /** EUR net for those hours, each calendar month (UTC) capped at the monthly price. */
  readonly amount: number;
  /** EUR net for every further hour (0 once it has ended). */
  readonly owedPerHour: number;
}

export interface Bill {
  readonly currency: "EUR";
  readonly lines: readonly BillLine[];
  /** EUR net, all lines. */
  readonly total: number;
  /** EUR net that every further hour costs as things stand; 0 means nothing is left. */
  readonly owedPerHour: number;
}

const hour = 3_600_000;
const round = (amount: number) => Math.round(amount * 10_000) / 10_000;

/**
 * What Hetzner would charge: by the started hour up to the monthly price, for as long as the resource exists. A server
 * that is switched off costs the same (docs.hetzner.com, Cloud billing FAQ).
 */
export class Billing {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Prices are EUR net and stay those of the order, whatever a price list says later. */
  begin(item: {
    readonly kind: BillLine["kind"];
    readonly id: number;
    readonly project: number;
    readonly name: string;
    readonly type: string;
    readonly location: string;
    readonly hourly: number;
    readonly monthly: number;
  }): void {
    this.#store
      .prepare(
        `INSERT INTO usage (resource, project, kind, name, type, location, hourly, monthly, started)
         VALUES (:id, :project, :kind, :name, :type, :location, :hourly, :monthly, :started)`,
      )
      .run({ ...item, started: this.#clock.now() });
  }

  end(resource: number): void {
    this.#store
      .prepare("UPDATE usage SET ended = ? WHERE resource = ? AND ended IS NULL")
      .run(this.#clock.now(), resource);
  }

  bill(): Bill {
    const rows = this.#store
      .prepare(
        `SELECT resource AS id, project, kind, name, type, location, hourly, monthly, started, ended
         FROM usage ORDER BY resource`,
      )
      .all() as (Omit<BillLine, "hours" | "amount" | "owedPerHour"> & { hourly: number; monthly: number })[];
    const now = this.#clock.now();
    const lines = rows.map(({ hourly, monthly, ...row }): BillLine => {
      const { hours, amount } = charge(row.started, row.ended ?? now, hourly, monthly);
      return { ...row, hours, amount: round(amount), owedPerHour: row.ended === null ? hourly : 0 };
    });
    return {
      currency: "EUR",
      lines,
      total: round(lines.reduce((sum, line) => sum + line.amount, 0)),
      owedPerHour: round(lines.reduce((sum, line) => sum + line.owedPerHour, 0)),
    };
  }
}

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
