/**
 * Who tries tokens is slowed down: a token bucket for each address, spent by failures alone. Whoever has a good token
 * and an honest address never notices; behind a proxy that is not trusted all share its address.
 */
import { BlockList, isIPv6 } from "node:net";

export interface FailedTokensOptions {
  /** Milliseconds; a clock that does not go back. */
  readonly now: () => number;
  /** Failures that an address may make at once. */
  readonly burst?: number;
  /** One more after so long, in milliseconds. */
  readonly everyMs?: number;
  /** Addresses that are remembered; of more the one that failed the longest ago is forgotten. */
  readonly addresses?: number;
}

export interface FailedTokens {
  /** Milliseconds that the address has to wait before a token of it is looked at; 0 when it need not. */
  waitMs(address: string): number;
  failed(address: string): void;
}

export function createFailedTokens(options: FailedTokensOptions): FailedTokens {
  const { now, burst = 10, everyMs = 6_000, addresses = 10_000 } = options;
  /** When the address will have all its tries again; in the order of the last failure. */
  const fullAt = new Map<string, number>();
  const group = (address: string) => (isIPv6(address) ? prefixOf(address) : address);
  return {
    waitMs(address) {
      const debt = (fullAt.get(group(address)) ?? 0) - now();
      return Math.max(0, debt - (burst - 1) * everyMs);
    },
    failed(address) {
      const key = group(address);
      const full = Math.max(fullAt.get(key) ?? 0, now()) + everyMs;
      fullAt.delete(key);
      fullAt.set(key, full);
      const [oldest] = fullAt.keys();
      if (fullAt.size > addresses && oldest !== undefined) fullAt.delete(oldest);
    },
  };
}

/** One customer of a provider has a /64 at least: its addresses are one. */
function prefixOf(address: string): string {
  const plain = address.split("%")[0] ?? address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
  if (mapped) return mapped;
  const [head = "", tail] = plain.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array.from({ length: Math.max(0, zeros) }, () => "0"), ...right];
  return groups
    .slice(0, 4)
    .map((digits) => Number.parseInt(digits, 16).toString(16))
    .join(":");
}

/**
 * Whose request it is: the peer, or whom the nearest proxy that we do not trust says it is.
 *
 * @param forwarded the value of X-Forwarded-For
 * @param trusted CIDRs of our own proxies
 */
export function clientAddress(peer: string, forwarded: string, trusted: readonly string[]): string {
  const proxies = new BlockList();
  for (const cidr of trusted) {
    const [net = "", bits = ""] = cidr.split("/");
    proxies.addSubnet(net, Number(bits), isIPv6(net) ? "ipv6" : "ipv4");
  }
  const ours = (address: string) => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
    try {
      return proxies.check(plain, isIPv6(plain) ? "ipv6" : "ipv4");
    } catch {
      return false;
    }
  };
  const chain = forwarded
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "");
  let address = peer;
  while (chain.length > 0 && ours(address)) address = chain.pop() ?? address;
  return address;
}
