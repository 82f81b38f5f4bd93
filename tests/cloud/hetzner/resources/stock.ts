import { isSold, type ServerType } from "../catalogue/server-types.ts";
import type { Context } from "../context.ts";
import { ApiError } from "../http/errors.ts";

/** What `locations[].available` of a server type says: a hint, as with Hetzner. */
export function isInStock({ clock, faults }: Context, type: ServerType, location: string): boolean {
  return (
    isSold(type, clock.now()) && type.offers[location] === true && faults.showsStock(type.name, location)
  );
}

/**
 * The last thing that can be wrong with an order, or with a change of type.
 * @throws ApiError 412 resource_unavailable when there is none to sell
 */
export function takeFromStock(
  { faults }: Context,
  project: number,
  wanted: { readonly name: string; readonly type: ServerType; readonly location: string },
): void {
  const { name, type, location } = wanted;
  const refused = faults.onOrder({ project, server: { name, type: type.name, location } });
  if (refused || !type.offers[location]) {
    throw new ApiError(412, "resource_unavailable", "error during placement");
  }
}
