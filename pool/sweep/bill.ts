/**
 * What we count against what Hetzner shows, in money: docs/bill.md. The lists are read each minute by the cloud's sweep;
 * this one adds up, closes the days that are over, and tells of days that differ by more than a little.
 */
import { type Bill, makeBill } from "../bill/bill.ts";
import { closeDays, dayOf, periodOf } from "../bill/days.ts";
import { type Clock, hourMs } from "../clock.ts";
import type { Store } from "../store/store.ts";
import { type Sweep, toldOnly } from "./sweep.ts";
import { createTelling } from "./tell.ts";

export const billFlag = "bill-difference";

/** More than one hour, and more than one in a hundred of the day's. */
const leastTold = { hours: 1, share: 0.01 };

export interface BillSweepOptions {
  readonly store: Store;
  readonly clock: Clock;
}

/** Begun hours that the two do not agree about. */
const differing = ({ differences }: Bill): number => differences.reduce((sum, { hours }) => sum + hours, 0);

export const isTold = (bill: Bill): boolean =>
  differing(bill) > Math.max(leastTold.hours, bill.hours * leastTold.share);

export function createBillSweep({ store, clock }: BillSweepOptions): Sweep {
  return {
    async run({ dryRun, actor }) {
      const now = clock.now();
      const telling = createTelling(store, dryRun, actor);
      const days = [dayOf(now - 24 * hourMs), dayOf(now)];
      const bills = days.map((day): [string, Bill] => [day, makeBill(store, periodOf(day), now)]);
      for (const [day, bill] of bills) {
        if (!isTold(bill)) continue;
        const hours = differing(bill);
        const text = `${hours} of ${Math.round(bill.hours)} machine-hours of ${day} are not as Hetzner shows them: clawpool bill --day ${day} says which`;
        telling.tell(billFlag, day, text);
      }
      const closed = dryRun ? [] : closeDays(store, now);
      telling.takeBack([billFlag], "the day is told of in clawpool bill");
      const differences = new Map(
        bills.flatMap(([, bill]) =>
          bill.differences.map((one) => [`${one.kind} ${one.resource}`, one] as const),
        ),
      );
      const hours = Math.round(bills.reduce((sum, [, bill]) => sum + bill.hours, 0));
      const alsoClosed = closed.length > 0 ? `; closed ${closed.join(", ")}` : "";
      return {
        sweep: "bill",
        looked: `${hours} machine-hours of ${days.join(" and ")}${alsoClosed}`,
        findings: [...differences.values()].map(({ kind, resource: subject, text, hours: differ, net }) => ({
          kind,
          subject,
          text: `${text}: ${differ} h${net === null ? "" : `, ${net.toFixed(4)} net`}`,
          done: toldOnly,
        })),
        gaps: bills.flatMap(([, bill]) => bill.unpriced.map(({ reason }) => reason)),
      };
    },
  };
}
