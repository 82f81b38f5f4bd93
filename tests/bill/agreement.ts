/** Our bill against that of the local cloud (`/_local/bill`): each hour, and to the cent. */
import { makeBill } from "../../pool/bill/bill.ts";
import { lifeOf } from "../../pool/bill/differences.ts";
import { begunHours } from "../../pool/bill/hours.ts";
import type { Store } from "../../pool/store/store.ts";
import type { BillLine } from "../cloud/hetzner/billing.ts";
import { knownSince } from "../invariants.ts";

const always = { from: 0, until: Number.MAX_SAFE_INTEGER };

/**
 * What does not agree, in words.
 *
 * @param lines of the whole project, without what is somebody else's
 */
export function billGaps(store: Store, lines: readonly BillLine[], now: number): string[] {
  const since = knownSince(store);
  const gaps = servers(store, lines, since, now);
  // What was charged for before a store was lost is on no bill of the next one.
  if (since > 0) return gaps;
  const ours = makeBill(store, always, now);
  const hours = (kind: string) =>
    lines.filter((line) => line.kind === kind).reduce((sum, line) => sum + line.hours, 0);
  const net = lines.reduce((sum, { amount }) => sum + amount, 0);
  for (const [what, own, theirs] of [
    ["hours of servers", ours.hours, hours("server")],
    ["hours of addresses", ours.addressHours, hours("primary_ip")],
    ["EUR net", ours.net.toFixed(6), net.toFixed(6)],
    ["hours without a price", ours.unpriced.length, 0],
  ] as const)
    if (own !== theirs) gaps.push(`${own} ${what} on our bill, ${theirs} on Hetzner's`);
  return gaps;
}

function servers(store: Store, lines: readonly BillLine[], since: number, now: number): string[] {
  const own = new Map(store.billed(0, Number.MAX_SAFE_INTEGER).map((one) => [`${one.kind} ${one.id}`, one]));
  return lines
    .filter(({ kind, started }) => kind === "server" && started >= since)
    .flatMap(({ id, name, hours }) => {
      const resource = own.get(`server ${id}`);
      const ours = resource ? begunHours(lifeOf(resource, now), null, always).length : 0;
      return ours === hours ? [] : [`server ${id} ${name}: ${ours} hours on our bill, ${hours} on Hetzner's`];
    });
}
