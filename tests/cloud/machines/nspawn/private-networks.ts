/**
 * Hetzner's private networks, which are routed: a machine has its address alone (/32) and reaches all of the network
 * through the gateway. Each network is a network name space of its own with a bridge that has the gateway's address,
 * so networks with the same range do not meet, and none meets the host's. A process that does nothing keeps the name
 * space alive; it is in the local cloud's cgroup, and with it bridge and cables end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { execa } from "execa";
import type { PrivateInterface } from "../backend.ts";
import { killCgroup, makeCgroup, rigCgroup } from "./cgroup.ts";

export interface Route {
  readonly destination: string;
  readonly gateway: string;
}

/** A machine's end of the cable. */
export interface Plug {
  /** Of the machine's init. */
  readonly pid: number;
  /** As the machine calls it. */
  readonly device: string;
  /** As the router calls the other end; its own for each machine. */
  readonly port: string;
}

export interface PrivateNetworks {
  plug(plug: Plug, own: PrivateInterface): Promise<void>;
  /** Takes the cable away; a machine that is off has lost it already. */
  unplug(plug: Pick<Plug, "port">, own: PrivateInterface): Promise<void>;
  setAliasIps(before: PrivateInterface, aliasIps: readonly string[]): Promise<void>;
  /** @param machines those that are plugged in now */
  setRoutes(network: number, routes: readonly Route[], machines: readonly MachineEnd[]): Promise<void>;
  stop(): Promise<void>;
}

type MachineEnd = Pick<Plug, "pid" | "device"> & { readonly own: PrivateInterface };

interface Router {
  readonly pid: number;
  readonly cgroup: string;
}

/** Of Hetzner's private networks. */
const mtu = 1450;
/** A machine finds its own way to the internet; on Hetzner too this route is set on the servers by hand. */
const isDefault = ({ destination }: Route) => destination === "0.0.0.0/0";

export function privateNetworks(rig: string): PrivateNetworks {
  const routers = new Map<number, Promise<Router>>();
  const routes = new Map<number, readonly Route[]>();

  const routesOf = (network: number) => routes.get(network) ?? [];
  const router = (own: PrivateInterface): Promise<Router> => {
    const found = routers.get(own.network) ?? startRouter(rig, own, routesOf(own.network));
    routers.set(own.network, found);
    return found;
  };

  return {
    async plug({ pid, device, port }, own) {
      const { pid: routerPid } = await router(own);
      // The end of a machine that was just switched off vanishes by itself, but maybe later than now.
      await ip(routerPid, [`link delete ${port}`], { force: true });
      const cable = `link add name ${port} type veth peer name ${device} address ${own.macAddress} netns ${pid}`;
      await ip(routerPid, [cable, `link set ${port} mtu ${mtu} master br0 up`, ...routesTo(own)]);
      await ip(pid, [
        `link set ${device} mtu ${mtu} up`,
        `address add ${own.ip}/32 dev ${device}`,
        `route add ${own.gateway} dev ${device} scope link`,
        `route add ${own.ipRange} via ${own.gateway} dev ${device}`,
        ...machineRoutes(routesOf(own.network), own, device),
      ]);
    },

    async unplug({ port }, own) {
      const found = await routers.get(own.network);
      if (!found) return;
      const lost = [own.ip, ...own.aliasIps].map((each) => `route delete ${each}/32`);
      await ip(found.pid, [`link delete ${port}`, ...lost], { force: true });
    },

    async setAliasIps(before, aliasIps) {
      const found = await routers.get(before.network);
      if (!found) return;
      const old = before.aliasIps.map((alias) => `route delete ${alias}/32`);
      await ip(found.pid, [...old, ...routesTo({ ...before, aliasIps })], { force: true });
    },

    async setRoutes(network, wanted, machines) {
      const old = routesOf(network);
      routes.set(network, wanted);
      for (const { pid, device, own } of machines) {
        await ip(pid, machineRoutes(old, own, device, "delete"), { force: true });
        await ip(pid, machineRoutes(wanted, own, device));
      }
      const found = await routers.get(network);
      if (!found) return;
      await ip(
        found.pid,
        old.map(({ destination }) => `route delete ${destination}`),
        { force: true },
      );
      await ip(found.pid, routerRoutes(wanted));
    },

    async stop() {
      const all = await Promise.allSettled(routers.values());
      routers.clear();
      for (const each of all) if (each.status === "fulfilled") await killCgroup(each.value.cgroup);
    },
  };
}

/**
 * Only addresses that were given to a machine are reached, not each that it takes. An alias it adds to its interface
 * by hand; the network leads there what is meant for it.
 */
const routesTo = (own: PrivateInterface) => [
  `route replace ${own.ip}/32 dev br0`,
  ...own.aliasIps.map((alias) => `route replace ${alias}/32 via ${own.ip} dev br0 onlink`),
];

const routerRoutes = (routes: readonly Route[]) =>
  routes.map(({ destination, gateway }) => `route replace ${destination} via ${gateway} dev br0 onlink`);

const machineRoutes = (
  routes: readonly Route[],
  own: PrivateInterface,
  device: string,
  verb: "replace" | "delete" = "replace",
) =>
  routes
    .filter((route) => !isDefault(route))
    .map(({ destination }) => `route ${verb} ${destination} via ${own.gateway} dev ${device}`);

async function startRouter(rig: string, own: PrivateInterface, routes: readonly Route[]): Promise<Router> {
  const cgroup = join(rigCgroup(rig), `network-${own.network}`);
  const folders = await makeCgroup(cgroup);
  // Router of this network alone: packets leave by the bridge they came from, which needs no redirect.
  const setUp = `for folder; do echo $$ > "$folder/cgroup.procs"; done
cd /proc/sys/net/ipv4
echo 1 > ip_forward
for who in all default; do echo 0 > conf/$who/send_redirects; echo 0 > conf/$who/rp_filter; done
echo ready
exec sleep infinity`;
  const child = spawn("unshare", ["--net", "--", "sh", "-ec", setUp, "sh", ...folders], {
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the router of a private network ended with ${code}`);
  });
  ended.catch(() => {});
  await Promise.race([once(child.stdout, "data"), ended]);
  child.stdout.destroy();
  child.unref();
  const pid = child.pid ?? 0;
  await ip(pid, [
    "link set lo up",
    // Its own address: else it takes the lowest of its ports' and the gateway's changes when a machine comes or goes.
    "link add name br0 address 02:c1:a0:00:00:01 type bridge",
    `address add ${own.gateway}/32 dev br0`,
    `link set br0 mtu ${mtu} up`,
    ...routerRoutes(routes),
  ]);
  return { pid, cgroup };
}

/** ip(8) in the network name space of a process. `force`: what fails is left out. @throws with ip's own words. */
async function ip(
  pid: number,
  commands: readonly string[],
  options: { force?: boolean } = {},
): Promise<void> {
  if (commands.length === 0) return;
  const force = options.force ? ["-force"] : [];
  const result = await execa("nsenter", [`--net=/proc/${pid}/ns/net`, "--", "ip", ...force, "-batch", "-"], {
    input: `${commands.join("\n")}\n`,
    reject: false,
  });
  if (result.failed && !options.force) throw new Error(`ip: ${result.stderr.trim()}`);
}
