/**
 * The network of one local cloud: a bridge of its own with a private /24, and one nft table that gives its machines
 * the internet (masquerade) and the metadata service. Removing the table and the bridge removes all of it.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";

/** Folder of the registry of local clouds on this host, see registry.ts. */
export const registryDir = "/run/clawpool-cloud";

export interface Network {
  readonly bridge: string;
  readonly table: string;
  /** Third number of the /24. */
  readonly net: number;
}

/** RFC 1918 space that neither Tailscale (100.64/10) nor the usual defaults of routers and Docker use. */
const prefix = "10.87";
const firstHost = 10;
const lastHost = 250;

export const subnetOf = (network: Network): string => `${prefix}.${network.net}.0/24`;
export const gatewayOf = (network: Network): string => `${prefix}.${network.net}.1`;

/** Addresses that machines may get, in the order in which they are given out. */
export function hostAddresses(network: Network): readonly string[] {
  return Array.from(
    { length: lastHost - firstHost + 1 },
    (_, i) => `${prefix}.${network.net}.${firstHost + i}`,
  );
}

/** Interface names end at 15 characters: `clawpool-` leaves six for the rig, a machine's `vb-…` twelve. */
export const networkNames = (rig: string): Pick<Network, "bridge" | "table"> => ({
  bridge: `clawpool-${rig}`,
  table: `clawpool_${rig}`,
});

/** Whether a route of the host covers part of the /24 already. */
export async function isRouted(net: number): Promise<boolean> {
  const { stdout } = await execa("ip", ["-4", "route", "show", "table", "all"]);
  return stdout.includes(`${prefix}.${net}.`);
}

/** Brings bridge and rules up. `metadataPort` is where the metadata service listens on the gateway address. */
export async function setUpNetwork(network: Network, metadataPort: number): Promise<void> {
  await setKernelSwitches();
  await execa("nft", ["-f", "-"], { input: ruleset(network, metadataPort) });
  await openHostFirewall(network);
}

/**
 * A bridge without an address of its own takes the lowest one of its ports: then the gateway would change its
 * address when a machine comes or goes, and all others would talk to the old one until their ARP entries expire.
 */
const bridgeMac = ({ net }: Network): string => `02:c1:a0:87:${net.toString(16).padStart(2, "0")}:01`;

/** The bridge alone, so that services can bind to the gateway address before the rules name their ports. */
export async function setUpBridge(network: Network): Promise<void> {
  await execa("ip", ["link", "add", "name", network.bridge, "address", bridgeMac(network), "type", "bridge"]);
  await execa("ip", ["address", "add", `${gatewayOf(network)}/24`, "dev", network.bridge]);
  await execa("ip", ["link", "set", network.bridge, "up"]);
}

/**
 * The clamp is for hosts whose way out has a smaller MTU than the bridge: without it large answers are lost where
 * ICMP is filtered.
 */
function ruleset(network: Network, metadataPort: number): string {
  const { bridge, table } = network;
  const subnet = subnetOf(network);
  const gateway = gatewayOf(network);
  return `table ip ${table} {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "${bridge}" ip daddr 169.254.169.254 tcp dport 80 dnat to ${gateway}:${metadataPort}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr ${subnet} oifname != "${bridge}" masquerade
  }
  chain forward {
    type filter hook forward priority filter;
    iifname "${bridge}" tcp flags syn tcp option maxseg size set rt mtu
    oifname "${bridge}" tcp flags syn tcp option maxseg size set rt mtu
    iifname "${bridge}" accept
    oifname "${bridge}" ct state established,related accept
  }
}
`;
}

/**
 * Switches of the host's kernel, with the least value that machines need. Each machine's init, journal and user
 * managers take about ten inotify instances, all counted as root's: the usual 128 end at a dozen machines, and the
 * next one's systemd-networkd or login manager fails.
 */
const kernelSwitches = [
  { name: "ip_forward", path: "/proc/sys/net/ipv4/ip_forward", least: 1 },
  { name: "max_user_instances", path: "/proc/sys/fs/inotify/max_user_instances", least: 4096 },
];

const switchBefore = (name: string): string => join(registryDir, `before-${name}`);

/** Sets them as machines need them; the values before are kept. */
export async function setKernelSwitches(): Promise<void> {
  for (const { name, path, least } of kernelSwitches) {
    const before = (await readFile(path, "utf8")).trim();
    if (Number(before) >= least) continue;
    // Exclusive: what the first local cloud found is what the last one puts back.
    await writeFile(switchBefore(name), before, { flag: "wx" }).catch(() => {});
    await writeFile(path, String(least));
  }
}

/** Puts the host's kernel switches back as the first local cloud found them; call it when the last one goes. */
export async function restoreKernelSwitches(): Promise<void> {
  for (const { name, path } of kernelSwitches) {
    const before = await readFile(switchBefore(name), "utf8").catch(() => undefined);
    if (before) await writeFile(path, before);
    await rm(switchBefore(name), { force: true });
  }
}

const filterChains = [
  ["FORWARD", "-i"],
  ["FORWARD", "-o"],
  ["INPUT", "-i"],
] as const;

/**
 * An accept in our own table does not help against a drop in another: where the host's firewall drops by default
 * (Docker does it for FORWARD, UFW for both), it gets exceptions for the bridge, which carry the bridge's name.
 */
async function openHostFirewall({ bridge }: Network): Promise<void> {
  const { stdout, failed } = await execa("iptables", ["-w", "-S"], { reject: false });
  if (failed) return;
  for (const [chain, direction] of filterChains) {
    if (!stdout.includes(`-P ${chain} DROP`)) continue;
    await execa("iptables", ["-w", "-I", chain, direction, bridge, "-j", "ACCEPT"]);
  }
}

/** Removes rules, the machines' ends on the bridge and the bridge; what is not there is no error. */
export async function tearDownNetwork({ bridge, table }: Network): Promise<void> {
  const quiet = (file: string, ...args: string[]) => execa(file, args, { reject: false });
  await quiet("nft", "delete", "table", "ip", table);
  const { stdout } = await quiet("iptables", "-w", "-S");
  for (const [chain, direction] of filterChains) {
    const rule = [chain, direction, bridge, "-j", "ACCEPT"];
    if (stdout?.includes(`-A ${rule.join(" ")}`)) await quiet("iptables", "-w", "-D", ...rule);
  }
  for (const port of await bridgePorts(bridge)) await quiet("ip", "link", "delete", port);
  await quiet("ip", "link", "delete", bridge);
}

async function bridgePorts(bridge: string): Promise<readonly string[]> {
  const { stdout, failed } = await execa("ip", ["-j", "link", "show", "master", bridge], { reject: false });
  if (failed || !stdout?.trim()) return [];
  return (JSON.parse(stdout) as { ifname?: string }[]).flatMap(({ ifname }) => (ifname ? [ifname] : []));
}

/** Removes one machine's end; it would vanish by itself, but later than its name may be wanted again. */
export async function removePort(machine: string): Promise<void> {
  await execa("ip", ["link", "delete", `vb-${machine}`], { reject: false });
}
