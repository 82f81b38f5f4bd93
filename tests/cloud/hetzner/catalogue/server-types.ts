import { locations } from "./locations.ts";
import { hourlyNet, netAndGross } from "./pricing.ts";

/**
 * Server types with the net prices of 2026-06-15 (EUR a month, without IPv4 and VAT; hetzner.com and two independent
 * readings of August 2026). Stock changes from day to day at Hetzner; here CAX and cpx11 are partly sold out, so that
 * `available: false` is seen, and everything else can be had. Ids of cx11, cpx11, cpx21, cpx22 and cx23 are Hetzner's,
 * the others are ours. For Singapore the European price stands.
 */
export interface ServerType {
  readonly id: number;
  readonly name: string;
  readonly description: string;
  readonly category: string;
  readonly cores: number;
  /** GB */
  readonly memory: number;
  /** GB */
  readonly disk: number;
  readonly cpu: "shared" | "dedicated";
  readonly architecture: "x86" | "arm";
  /** EUR net */
  readonly monthly: number;
  /** Where it is sold, and whether there is one to sell now. */
  readonly offers: Readonly<Record<string, boolean>>;
  /** Everywhere. */
  readonly deprecation: Deprecation | null;
  /** Where it was sold once and `offers` has it no more. */
  readonly withdrawn: Readonly<Record<string, Deprecation>>;
}

export interface Deprecation {
  readonly announced: string;
  readonly unavailable_after: string;
}

const europe = ["fsn1", "nbg1", "hel1"];
const america = ["ash", "hil"];

/** The old CPX generation is sold in America alone since the new one came to Europe and Singapore (dates are ours). */
const onlyAmerica = {
  withdrawn: Object.fromEntries(
    [...europe, "sin"].map((location) => [
      location,
      { announced: "2025-10-16T06:00:00Z", unavailable_after: "2025-12-31T23:59:00Z" },
    ]),
  ),
};

export const serverTypes: readonly ServerType[] = [
  // Long gone: no list shows it, but it can still be read by id.
  type(1, "cx11", "CX11", [1, 2, 20], 3.29, offers(europe, []), {
    deprecation: { announced: "2024-06-06T00:00:00Z", unavailable_after: "2024-09-06T00:00:00Z" },
  }),
  type(22, "cpx11", "CPX 11", [2, 2, 40], 17.49, offers(america, ["ash"]), onlyAmerica),
  type(23, "cpx21", "CPX 21", [3, 4, 80], 29.49, offers(america, america), onlyAmerica),
  type(24, "cpx31", "CPX 31", [4, 8, 160], 55.49, offers(america, america), onlyAmerica),
  type(45, "cax11", "CAX11", [2, 4, 40], 5.99, offers(europe, []), { architecture: "arm" }),
  type(93, "cax21", "CAX21", [4, 8, 80], 10.49, offers(europe, []), { architecture: "arm" }),
  type(94, "cax31", "CAX31", [8, 16, 160], 20.99, offers(europe, ["hel1"]), { architecture: "arm" }),
  type(95, "cax41", "CAX41", [16, 32, 320], 40.99, offers(europe, ["hel1"]), { architecture: "arm" }),
  type(96, "ccx13", "CCX13", [2, 8, 80], 42.99, offers([...europe, ...america, "sin"]), {
    cpu: "dedicated",
  }),
  type(97, "ccx23", "CCX23", [4, 16, 160], 85.99, offers([...europe, ...america, "sin"]), {
    cpu: "dedicated",
  }),
  type(98, "ccx33", "CCX33", [8, 32, 240], 138.49, offers([...europe, ...america, "sin"]), {
    cpu: "dedicated",
  }),
  type(108, "cpx12", "CPX12", [1, 2, 40], 11.49, offers([...europe, "sin"])),
  type(109, "cpx22", "CPX22", [2, 4, 80], 19.49, offers([...europe, "sin"])),
  type(110, "cpx32", "CPX32", [4, 8, 160], 35.49, offers([...europe, "sin"])),
  type(111, "cpx42", "CPX42", [8, 16, 320], 69.49, offers([...europe, "sin"])),
  type(112, "cpx52", "CPX52", [12, 24, 480], 100.49, offers([...europe, "sin"])),
  type(113, "cpx62", "CPX62", [16, 32, 640], 129.99, offers([...europe, "sin"])),
  type(114, "cx23", "CX23", [2, 4, 40], 5.49, offers(europe), { category: "cost_optimized" }),
  type(115, "cx33", "CX33", [4, 8, 80], 8.49, offers(europe), { category: "cost_optimized" }),
  type(116, "cx43", "CX43", [8, 16, 160], 15.99, offers(europe), { category: "cost_optimized" }),
  type(117, "cx53", "CX53", [16, 32, 320], 29.49, offers(europe), { category: "cost_optimized" }),
];

/** By name or by id in decimal. */
export function findServerType(idOrName: string): ServerType | undefined {
  return serverTypes.find((known) => known.name === idOrName || String(known.id) === idOrName);
}

/** Lists leave out what can no longer be ordered. */
export function isSold(type: ServerType, now: number): boolean {
  return type.deprecation === null || Date.parse(type.deprecation.unavailable_after) > now;
}

/** TB in Europe as Hetzner counts them (2^40 bytes). */
const trafficBytes = (location: string) =>
  (location === "ash" || location === "hil" || location === "sin" ? 1 : 20) * 2 ** 40;

/** @param inStock whether there is one to sell in a location now; default: as the catalogue says */
export function presentServerType(
  type: ServerType,
  now: number,
  inStock = (location: string) => isSold(type, now) && type.offers[location] === true,
): Record<string, unknown> {
  return {
    id: type.id,
    name: type.name,
    description: type.description,
    category: type.category,
    cores: type.cores,
    memory: type.memory,
    disk: type.disk,
    deprecated: type.deprecation !== null,
    deprecation: type.deprecation,
    prices: presentPrices(type),
    storage_type: "local",
    cpu_type: type.cpu,
    architecture: type.architecture,
    locations: locations
      .filter(({ name }) => name in type.offers || name in type.withdrawn)
      .map(({ id, name }) => ({
        id,
        name,
        available: name in type.offers && inStock(name),
        recommended: name in type.offers && inStock(name),
        deprecation: type.deprecation ?? type.withdrawn[name] ?? null,
      })),
  };
}

export function includedTraffic(location: string): number {
  return trafficBytes(location);
}

/** `prices[]` of a server type, also shown by `GET /pricing`. */
export function presentPrices(type: ServerType): unknown[] {
  return Object.keys(type.offers).map((location) => ({
    location,
    price_hourly: netAndGross(hourlyNet(type.monthly)),
    price_monthly: netAndGross(type.monthly),
    included_traffic: trafficBytes(location),
    price_per_tb_traffic: netAndGross(location === "sin" ? 7.4 : 1),
  }));
}

function offers(sold: readonly string[], available: readonly string[] = sold): Record<string, boolean> {
  return Object.fromEntries(sold.map((location) => [location, available.includes(location)]));
}

function type(
  id: number,
  name: string,
  description: string,
  [cores, memory, disk]: readonly [number, number, number],
  monthly: number,
  offers: Readonly<Record<string, boolean>>,
  other: Partial<Pick<ServerType, "category" | "cpu" | "architecture" | "deprecation" | "withdrawn">> = {},
): ServerType {
  return {
    id,
    name,
    description,
    category: other.cpu === "dedicated" ? "general_purpose" : "regular_purpose",
    cores,
    memory,
    disk,
    cpu: "shared",
    architecture: "x86",
    monthly,
    offers,
    deprecation: null,
    withdrawn: {},
    ...other,
  };
}
