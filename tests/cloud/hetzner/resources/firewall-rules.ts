import { isIPv4, isIPv6 } from "node:net";
import { z } from "zod";
import { toIp, toNumber } from "./network-addresses.ts";

/** Limits of Hetzner's API description. */
const maxRules = 50;
const maxRanges = 100;
/** Counted by range: docs.hetzner.com, Cloud, Firewalls, "Limits". */
const maxEffectiveRules = 500;

const portPattern = /^([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?$/;

function isPort(text: string): boolean {
  // Not in the API description; terraform-provider-hcloud's acceptance suite sends it and reads it back.
  if (text === "any") return true;
  const [, from, to = from] = portPattern.exec(text) ?? [];
  return from !== undefined && Number(to) <= 65535 && Number(from) <= Number(to);
}

/** The range with its host bits at zero and IPv6 in canonical form, or null when it is none. */
export function canonicalRange(text: string): string | null {
  const [, address = "", length = ""] = /^([0-9A-Fa-f.:]+)\/([0-9]{1,3})$/.exec(text) ?? [];
  const bits = Number(length);
  if (length === "") return null;
  if (isIPv4(address)) {
    const size = 2 ** (32 - bits);
    return bits <= 32 && toNumber(address) % size === 0 ? `${toIp(toNumber(address))}/${bits}` : null;
  }
  if (!isIPv6(address) || bits > 128) return null;
  // The URL parser writes IPv6 in the canonical form of RFC 5952.
  return `${new URL(`http://[${address}]/`).hostname.slice(1, -1)}/${bits}`;
}

const rangesSchema = z
  .array(
    z.string().transform((text, context) => {
      const range = canonicalRange(text);
      if (range !== null) return range;
      context.addIssue({ code: "custom", message: `'${text}' is not a valid CIDR` });
      return z.NEVER;
    }),
  )
  .max(maxRanges, `at most ${maxRanges} ranges`);

const ruleSchema = z
  .object({
    direction: z.enum(["in", "out"]),
    protocol: z.enum(["tcp", "udp", "icmp", "esp", "gre"]),
    port: z.string().nullish(),
    source_ips: rangesSchema.optional(),
    destination_ips: rangesSchema.optional(),
    description: z.string().max(255, "is too long (at most 255 characters)").nullish(),
  })
  .superRefine((rule, context) => {
    const complain = (field: string, message: string) =>
      context.addIssue({ code: "custom", path: [field], message });
    const hasPort = rule.port !== null && rule.port !== undefined && rule.port !== "";
    if (rule.protocol === "tcp" || rule.protocol === "udp") {
      if (!hasPort || !isPort(rule.port ?? "")) complain("port", "must be a port or a range of ports");
    } else if (hasPort) complain("port", `is not allowed for ${rule.protocol}`);
    const needed = rule.direction === "in" ? "source_ips" : "destination_ips";
    if ((rule[needed] ?? []).length === 0)
      complain(needed, `must not be empty for direction ${rule.direction}`);
  })
  .transform((rule) => ({
    direction: rule.direction,
    protocol: rule.protocol,
    port: rule.port || null,
    source_ips: rule.source_ips ?? [],
    destination_ips: rule.destination_ips ?? [],
    description: rule.description ?? null,
  }));

export const rulesSchema = z
  .array(ruleSchema)
  .max(maxRules, `at most ${maxRules} rules`)
  .refine(
    (rules) =>
      rules.reduce((sum, rule) => sum + rule.source_ips.length + rule.destination_ips.length, 0) <=
      maxEffectiveRules,
    {
      error: `at most ${maxEffectiveRules} effective rules`,
      // Rules that are wrong are no rules yet: they have no ranges to count.
      when: ({ issues }) => issues.length === 0,
    },
  );
