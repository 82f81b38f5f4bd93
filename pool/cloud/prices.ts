/**
 * Hetzner's own price list, as far as our stacks cost anything: servers, primary IPv4 addresses, and what people leave
 * beside them (volumes, snapshots). Networks, firewalls, placement groups, keys and IPv6 are free.
 *
 * `store.prices()` gives the last list that was read, also after a restart without Hetzner; null before the first.
 * What one more machine costs: `machinePrice(store.prices(), { serverType, location })`. A price that is not known is
 * an answer of its own with the reason in words, never 0 and never NaN.
 *
 * Source: https://docs.hetzner.cloud/reference/cloud#tag/pricing (`GET /pricing`).
 */
import { z } from "zod";

/** In the account's currency. */
export interface Money {
  readonly net: number;
  /** With VAT. */
  readonly gross: number;
}

export interface Price {
  /** For every begun hour, whether the resource is switched on or not. */
  readonly hourly: Money;
  /** The most that a calendar month costs. */
  readonly monthly: Money;
}

export interface PriceList {
  /** ISO 4217, as the account pays: `EUR` or `USD`. */
  readonly currency: string;
  readonly vatPercent: number;
  /** By server type and location. */
  readonly servers: Readonly<Record<string, Readonly<Record<string, Price>>>>;
  /** By location. */
  readonly primaryIpv4: Readonly<Record<string, Price>>;
  /** For each GB and calendar month. */
  readonly volumeGbMonth: Money | null;
  readonly snapshotGbMonth: Money | null;
}

export type PriceAnswer =
  | { readonly known: true; readonly price: Price }
  /** `no price for cx99 at fsn1: …` */
  | { readonly known: false; readonly reason: string };

export interface Offer {
  readonly serverType: string;
  readonly location: string;
}

const unread = "Hetzner's price list has not been read yet";
const unlisted = "Hetzner's price list does not have it";

/** @param prices null: none was ever read */
export const serverPrice = (prices: PriceList | null, { serverType, location }: Offer): PriceAnswer =>
  answer(serverType, location, prices, prices && own(own(prices.servers, serverType) ?? {}, location));

export const ipv4Price = (prices: PriceList | null, location: string): PriceAnswer =>
  answer("a primary IPv4", location, prices, prices && own(prices.primaryIpv4, location));

/** A machine is a server and its address; both are billed on their own, so the month's two caps add up. */
export function machinePrice(prices: PriceList | null, offer: Offer): PriceAnswer {
  const server = serverPrice(prices, offer);
  const address = ipv4Price(prices, offer.location);
  if (!server.known) return server;
  if (!address.known) return address;
  const sum = (by: keyof Price): Money => ({
    net: tenDigits(server.price[by].net + address.price[by].net),
    gross: tenDigits(server.price[by].gross + address.price[by].gross),
  });
  return { known: true, price: { hourly: sum("hourly"), monthly: sum("monthly") } };
}

/** As many as Hetzner writes. */
const tenDigits = (amount: number) => Number(amount.toFixed(10));

function answer(
  what: string,
  location: string,
  prices: PriceList | null,
  price: Price | null | undefined,
): PriceAnswer {
  if (price) return { known: true, price };
  return { known: false, reason: `no price for ${what} at ${location}: ${prices ? unlisted : unread}` };
}

/** Names come from the configuration: `constructor` is no server type. */
const own = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

/** Hetzner writes amounts as strings; what is not a plain number in one is no price. */
const amount = z
  .string()
  .regex(/^\d{1,9}(?:\.\d{1,20})?$/)
  .transform(Number);
const money = z.object({ net: amount, gross: amount });
const located = z.object({ location: z.string(), price_hourly: money, price_monthly: money });
/** One entry that is not as described loses its own price and no other. */
const lenient = <T>(entry: z.ZodType<T>) => z.array(entry.nullable().catch(null));
const perGb = z
  .object({ price_per_gb_month: money })
  .transform((shown) => shown.price_per_gb_month)
  .nullable()
  .catch(null);

/** `pricing` of the answer to `GET /pricing`. */
export const priceListShape = z
  .object({
    currency: z.string().regex(/^[A-Z]{3}$/),
    vat_rate: amount,
    server_types: lenient(z.object({ name: z.string(), prices: lenient(located) })),
    primary_ips: lenient(z.object({ type: z.string(), prices: lenient(located) })),
    volume: perGb,
    image: perGb,
  })
  .transform(
    (shown): PriceList => ({
      currency: shown.currency,
      vatPercent: shown.vat_rate,
      servers: Object.fromEntries(
        shown.server_types.flatMap((type) => (type ? [[type.name, byLocation(type.prices)]] : [])),
      ),
      primaryIpv4: byLocation(shown.primary_ips.find((ip) => ip?.type === "ipv4")?.prices ?? []),
      volumeGbMonth: shown.volume,
      snapshotGbMonth: shown.image,
    }),
  );

/** What is listed for nothing is not sold: a pool that believed it would buy without end. */
function byLocation(prices: readonly (z.infer<typeof located> | null)[]): Record<string, Price> {
  return Object.fromEntries(
    prices.flatMap((price) =>
      price && price.price_hourly.net > 0 && price.price_monthly.net > 0
        ? [[price.location, { hourly: price.price_hourly, monthly: price.price_monthly }]]
        : [],
    ),
  );
}
