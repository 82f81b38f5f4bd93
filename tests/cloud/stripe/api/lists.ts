import { invalidParameter, missing } from "../errors.ts";
import type { ObjectList, StripeObject } from "../objects/wire.ts";
import type { Call } from "./call.ts";
import type { Range } from "./parameters.ts";

/** One page, newest first, by Stripe's cursors. Reads the parameters of paging, and refuses what is left of the others. */
export function page<T extends StripeObject>(
  { parameters, path }: Call,
  oldestFirst: Iterable<T>,
  fits: (thing: T) => boolean,
): ObjectList<T> {
  const limit = parameters.integer("limit", { min: 1, max: 100 }) ?? 10;
  const after = parameters.text("starting_after");
  const before = parameters.text("ending_before");
  if (after !== null && before !== null) {
    throw invalidParameter(
      "ending_before",
      "You cannot parameterize this request with both `starting_after` and `ending_before`.",
    );
  }
  parameters.done();
  const all = [...oldestFirst].reverse();
  const cursor = all.findIndex(({ id }) => id === (after ?? before));
  if (cursor === -1 && (after ?? before) !== null) {
    const kind = all[0]?.object ?? "object";
    throw missing(kind, after ?? before ?? "", after === null ? "ending_before" : "starting_after", 400);
  }
  const rest = after !== null ? all.slice(cursor + 1) : before !== null ? all.slice(0, cursor) : all;
  const matching = rest.filter(fits);
  // Towards newer objects the page is the one next to the cursor.
  const data = before !== null ? matching.slice(-limit) : matching.slice(0, limit);
  return { object: "list", data, has_more: matching.length > data.length, url: path };
}

/** A filter by equality: what was not asked for fits. */
export const is = (wanted: string | null, value: unknown): boolean => wanted === null || wanted === value;

export const within = (range: Range | null, time: number): boolean =>
  range === null || (time >= range.gte && time <= range.lte);
