import { BlockList, isIPv4, isIPv6 } from "node:net";
import { z } from "zod";
import { invalidField } from "../http/errors.ts";
import { parseBody } from "../http/validation.ts";
import type { DnsPtrs } from "../store/documents.ts";

/** What has reverse names: an IPv4 address, or an IPv6 /64 as `2001:db8::/64`. */
interface Address {
  readonly ip: string;
  readonly dnsPtrs: DnsPtrs;
}

/** Limit of the DNS (RFC 1035). */
const maxNameLength = 253;
const label = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";

const changeDnsPtrSchema = z.object({
  ip: z.string().min(1),
  dns_ptr: z
    .string()
    .max(maxNameLength, `is too long (at most ${maxNameLength} characters)`)
    .regex(new RegExp(`^${label}(\\.${label})*\\.?$`), "must be a domain name")
    .nullable(),
});

/** Hetzner's default reverse name of an IPv4 address. */
export const reverseName = (ip: string) =>
  `static.${ip.split(".").reverse().join(".")}.clients.your-server.de`;

/** The address as RFC 5952 writes it; IPv4 stays as it is. Null when it is none. */
export function canonicalAddress(ip: string): string | null {
  if (isIPv4(ip)) return ip;
  // Scoped addresses (`fe80::1%eth0`) are addresses to Node and none to a URL.
  if (!isIPv6(ip) || ip.includes("%")) return null;
  return new URL(`http://[${ip}]/`).hostname.slice(1, -1);
}

/** `dns_ptr` of a primary or floating IP: one entry for IPv4, any number for IPv6. */
export function presentDnsPtrs({ ip, dnsPtrs }: Address): { ip: string; dns_ptr: string }[] {
  if (isIPv4(ip)) return [{ ip, dns_ptr: dnsPtrs[ip] ?? reverseName(ip) }];
  return Object.entries(dnsPtrs).map(([address, name]) => ({ ip: address, dns_ptr: name }));
}

/**
 * The names after a `change_dns_ptr` with this body; null brings the default back (IPv4) or removes the entry (IPv6).
 * @param own addresses and prefixes that the resource has
 * @throws ApiError 422 invalid_input, also when `ip` is none of them.
 */
export function changedDnsPtrs(own: readonly string[], dnsPtrs: DnsPtrs, body: unknown): DnsPtrs {
  const { ip, dns_ptr: name } = parseBody(changeDnsPtrSchema, body);
  const wanted = canonicalAddress(ip);
  if (wanted === null || !own.some((address) => covers(address, wanted))) {
    throw invalidField("ip", `'${ip}' is no address of ${own.join(" or ")}`);
  }
  const { [wanted]: _before, ...others } = dnsPtrs;
  return name === null ? others : { ...others, [wanted]: name };
}

export function covers(own: string, wanted: string): boolean {
  const [prefix = "", bits] = own.split("/");
  if (bits === undefined) return prefix === wanted;
  if (!isIPv6(wanted)) return false;
  const list = new BlockList();
  list.addSubnet(prefix, Number(bits), "ipv6");
  return list.check(wanted, "ipv6");
}
