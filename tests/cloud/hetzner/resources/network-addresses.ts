import { createHash } from "node:crypto";
import type { PrivateInterface } from "../../machines/backend.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { PrivateNet, Stored, Subnet } from "../store/documents.ts";

/** An IPv4 range as numbers; `first` and `last` include network and broadcast address. */
export interface Range {
  readonly first: number;
  readonly last: number;
  readonly bits: number;
}

/** Gateway of the public interfaces: no private network may use the address. */
export const publicGateway = "172.31.1.1";

export const toNumber = (ip: string) => ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);

export const toIp = (value: number) =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");

/** @throws ApiError 422 when `cidr` has host bits set; its form was checked before. */
export function toRange(cidr: string, field: string): Range {
  const [ip = "", length = ""] = cidr.split("/");
  const bits = Number(length);
  const first = toNumber(ip);
  const size = 2 ** (32 - bits);
  if (first % size !== 0) throw invalidField(field, `${cidr} has host bits set`);
  return { first, last: first + size - 1, bits };
}

export const contains = (outer: Range, inner: Range) =>
  inner.first >= outer.first && inner.last <= outer.last;

export const overlaps = (a: Range, b: Range) => a.first <= b.last && b.first <= a.last;

/** Addresses in use in a network, alias addresses included. */
function used(context: Context, network: Stored<"network">): Set<string> {
  return new Set(
    context.store
      .list("server", network.project)
      .flatMap((server) => server.privateNet)
      .filter((entry) => entry.network === network.id)
      .flatMap((entry) => [entry.ip, ...entry.alias_ips]),
  );
}

function noSubnet(): ApiError {
  return new ApiError(
    422,
    "no_subnet_available",
    "no subnet or IP is available for the server in the network",
  );
}

const usable = (network: Stored<"network">, zone: string) =>
  network.subnets.filter((subnet) => subnet.network_zone === zone);

/** @throws ApiError 422 no_subnet_available when a server in the zone could get no address. */
export function assertAttachable(context: Context, network: Stored<"network">, zone: string): void {
  const taken = used(context, network);
  if (!usable(network, zone).some((subnet) => firstFree(network, subnet, taken) !== null)) throw noSubnet();
}

/**
 * The first free address: `.2` in a subnet that begins where the network begins (its first address is the gateway),
 * `.1` in any other.
 */
function firstFree(network: Stored<"network">, subnet: Subnet, taken: ReadonlySet<string>): string | null {
  const range = toRange(subnet.ip_range, "ip_range");
  const gateway = toRange(network.ipRange, "ip_range").first + 1;
  for (let value = range.first + 1; value < range.last; value++) {
    const ip = toIp(value);
    if (value !== gateway && ip !== publicGateway && !taken.has(ip)) return ip;
  }
  return null;
}

/** @throws ApiError 422 ip_not_available */
function assertFree(
  network: Stored<"network">,
  subnets: readonly Subnet[],
  taken: ReadonlySet<string>,
  addresses: readonly string[],
): void {
  const gateway = toIp(toRange(network.ipRange, "ip_range").first + 1);
  for (const [index, address] of addresses.entries()) {
    const value = toNumber(address);
    const inside = subnets.some((subnet) => {
      const range = toRange(subnet.ip_range, "ip_range");
      return value > range.first && value < range.last;
    });
    const used = taken.has(address) || addresses.indexOf(address) !== index;
    if (!inside || used || address === gateway || address === publicGateway) {
      throw new ApiError(422, "ip_not_available", `the IP ${address} is not available`);
    }
  }
}

/** Of further addresses for a server in the zone. @throws ApiError 422 ip_not_available */
export function assertFreeIn(
  context: Context,
  network: Stored<"network">,
  zone: string,
  addresses: readonly string[],
): void {
  assertFree(network, usable(network, zone), used(context, network), addresses);
}

/** @throws ApiError 422 ip_not_available or no_subnet_available. */
export function allocatePrivateNet(
  context: Context,
  network: Stored<"network">,
  zone: string,
  server: number,
  wanted: {
    readonly ip?: string | undefined;
    readonly aliasIps?: readonly string[] | undefined;
    readonly ipRange?: string | undefined;
  },
): PrivateNet {
  const taken = used(context, network);
  const subnets = usable(network, zone).filter(
    (subnet) => wanted.ipRange === undefined || subnet.ip_range === wanted.ipRange,
  );
  let ip = wanted.ip;
  if (ip === undefined) {
    for (const subnet of subnets) ip ??= firstFree(network, subnet, taken) ?? undefined;
    if (ip === undefined) throw noSubnet();
  }
  assertFree(network, subnets, taken, [ip, ...(wanted.aliasIps ?? [])]);
  const hash = createHash("sha256").update(`${network.id}/${server}`).digest("hex");
  // 86:00:00 begins the addresses of Hetzner's private interfaces.
  const mac = `86:00:00:${hash.slice(0, 2)}:${hash.slice(2, 4)}:${hash.slice(4, 6)}`;
  return { network: network.id, ip, alias_ips: wanted.aliasIps ?? [], mac_address: mac };
}

/** What the machine of a server in the network gets. */
export const interfaceOf = (network: Stored<"network">, entry: PrivateNet): PrivateInterface => ({
  network: network.id,
  ip: entry.ip,
  aliasIps: entry.alias_ips,
  macAddress: entry.mac_address,
  ipRange: network.ipRange,
  gateway: toIp(toRange(network.ipRange, "ip_range").first + 1),
});
