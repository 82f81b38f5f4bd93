/**
 * A tailnet without a network, for machines that are folders: nodes join by a call. Keys, names, addresses, approval,
 * expiry, logout and deletion follow the same rules as in control/, held together by one contract suite.
 */
import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { isIPv4 } from "node:net";
import type { Clock } from "../../../pool/clock.ts";
import {
  type Control,
  type ControlDevice,
  type ControlEvent,
  type ControlKey,
  Refusal,
  type TailnetSettings,
} from "./control.ts";

interface Registration {
  readonly authKey: string;
  readonly hostname: string;
  /** Names the machine across joins; the same machine keeps node id and addresses. Default: a new machine. */
  readonly machineKey?: string;
}

interface Registered {
  readonly nodeId: string;
  readonly name: string;
  readonly addresses: readonly string[];
}

/** A node as the machine itself would see it. */
export interface NodeView {
  readonly version: number;
  /** In tailscaled's words. */
  readonly state: "NeedsLogin" | "NeedsMachineAuth" | "Running";
  /** Addresses of its peers. */
  readonly peers: readonly string[];
}

export interface SimulatedControl extends Control {
  /** The node, online from now on; or the refusal in Tailscale's words. `taken`: the host name counts as taken. */
  register(request: Registration, taken?: boolean): Registered | { readonly error: string };
  /** An ephemeral node vanishes, others stay listed, expired. False when there is no such node. */
  logout(nodeId: string): boolean;
  /** The machine went away or came back, with the routes it now offers. False when it is not there or logged out. */
  setOnline(nodeId: string, online: boolean, advertisedRoutes?: readonly string[]): boolean;
  /** With `after`: when the tailnet is newer than that version, or after 25 s at the latest. */
  node(nodeId: string, after?: number, signal?: AbortSignal): Promise<NodeView>;
}

interface SimulatedOptions extends TailnetSettings {
  readonly clock: Clock;
  /** MagicDNS suffix. */
  readonly domain?: string;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Node {
  device: Mutable<ControlDevice>;
  /** A person chose the name. */
  pinned: boolean;
  /** nodeKeyExpiringInOneDay was sent for this key. */
  warned: boolean;
}

const dayMs = 86_400_000;
/** The least time after which Tailscale removes an ephemeral node that went silent. */
const ephemeralLifeMs = 30 * 60_000;
const marker = "expiring-node-key-marker";

export function simulatedControl(options: SimulatedOptions): SimulatedControl {
  const { clock, domain = "clawpool.ts.net", deviceApproval = false, keyLifeDays = 180 } = options;
  const keys = new Map<string, Mutable<ControlKey>>();
  const idOfText = new Map<string, string>();
  const nodes = new Map<string, Node>();
  const log: ControlEvent[] = [];
  const events = new EventEmitter().setMaxListeners(0);
  let version = 0;
  let lastNode = 0;

  const changed = () => {
    version++;
    events.emit("changed");
  };
  const at = (ms = clock.now()) => new Date(ms).toISOString();
  const emit = (type: string, { device }: Node, actor: string) => {
    log.push({
      seq: log.length + 1,
      type,
      at: at(),
      nodeId: device.nodeId,
      name: device.name,
      address: String(device.addresses[0]),
      managedBy: device.tags.join(",") || "operator@clawpool.test",
      actor,
      ...(type.startsWith("nodeKey") ? { expiration: device.expires } : {}),
    });
  };
  const remove = (node: Node, actor: string) => {
    nodes.delete(node.device.nodeId);
    emit("nodeDeleted", node, actor);
    changed();
  };
  const expire = ({ device }: Node) => {
    const expires = at(Math.min(clock.now(), Date.parse(device.expires)));
    Object.assign(device, { expired: true, expires, online: false, lastSeen: at() });
    changed();
  };
  /** Does what has become due; called before anything is read, and as time passes. */
  const due = () => {
    for (const node of nodes.values()) {
      const { device } = node;
      const leftMs = Date.parse(device.expires) - clock.now();
      if (
        device.ephemeral &&
        !device.online &&
        clock.now() - Date.parse(device.lastSeen) >= ephemeralLifeMs
      ) {
        remove(node, device.nodeId);
        continue;
      }
      if (device.keyExpiryDisabled || device.expired) continue;
      if (!node.warned && leftMs < dayMs) {
        node.warned = true;
        emit("nodeKeyExpiringInOneDay", node, marker);
        changed();
      }
      if (leftMs <= 0) {
        expire(node);
        emit("nodeKeyExpired", node, marker);
      }
    }
  };
  const timer = setInterval(due, 1_000).unref();

  /** Waits for something newer, at most 25 s. */
  const newer = async (signal?: AbortSignal) => {
    const late = AbortSignal.timeout(25_000);
    const either = signal ? AbortSignal.any([late, signal]) : late;
    await once(events, "changed", { signal: either }).catch(() => signal?.throwIfAborted());
  };
  const others = (nodeId: string) => [...nodes.values()].filter(({ device }) => device.nodeId !== nodeId);
  const nameTaken = (name: string, nodeId: string) =>
    others(nodeId).some(({ device }) => device.name === name);
  const freeName = (hostname: string, nodeId: string, taken = false) => {
    const base =
      hostname
        .toLowerCase()
        .replace(/[^a-z0-9-]+/g, "-")
        .replace(/^-+|-+$/g, "")
        .slice(0, 63) || "node";
    for (let i = taken ? 1 : 0; ; i++) {
      const name = `${i === 0 ? base : `${base}-${i}`}.${domain}`;
      if (!nameTaken(name, nodeId)) return name;
    }
  };
  const addNode = (machineKey: string): Node => {
    const id = ++lastNode;
    const device: Mutable<ControlDevice> = {
      nodeId: `n${String(id).padStart(8, "0")}CNTRL`,
      id: String(id),
      hostname: "",
      name: "",
      addresses: [
        `100.${64 + (id >> 16)}.${(id >> 8) & 255}.${id & 255}`,
        `fd7a:115c:a1e0::${id.toString(16)}`,
      ],
      tags: [],
      online: false,
      authorized: true,
      expired: false,
      expires: at(),
      keyExpiryDisabled: false,
      ephemeral: false,
      created: at(),
      lastSeen: at(),
      keyId: "",
      nodeKey: "",
      machineKey,
      os: "linux",
      clientVersion: "simulated",
      blocksIncomingConnections: false,
      advertisedRoutes: [],
      enabledRoutes: [],
      sshEnabled: false,
    };
    const node = { device, pinned: false, warned: false };
    nodes.set(device.nodeId, node);
    return node;
  };
  const rename = (node: Node, name: string) => {
    const { device } = node;
    if (name === "") {
      node.pinned = false;
      device.name = freeName(device.hostname, device.nodeId);
      return;
    }
    const suffix = `.${domain}`;
    const given = name.toLowerCase().endsWith(suffix) ? name.slice(0, -suffix.length) : name;
    const wanted = `${given.toLowerCase()}${suffix}`;
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(given)) {
      throw new Refusal(`${JSON.stringify(name)} is not a valid device name`);
    }
    if (nameTaken(wanted, device.nodeId)) {
      throw new Refusal(`the device name ${JSON.stringify(given)} is taken`);
    }
    node.pinned = true;
    device.name = wanted;
  };
  const move = ({ device }: Node, ipv4: string) => {
    const [a, b] = ipv4.split(".").map(Number);
    if (!isIPv4(ipv4) || a !== 100 || b === undefined || b < 64 || b > 127) {
      throw new Refusal(`${JSON.stringify(ipv4)} is not an IPv4 address of a tailnet`);
    }
    if (others(device.nodeId).some((other) => other.device.addresses.includes(ipv4))) {
      throw new Refusal(`the address ${ipv4} is taken`);
    }
    device.addresses = [ipv4, ...device.addresses.slice(1)];
  };

  const registered = ({ device: { nodeId, name, addresses } }: Node) => ({ nodeId, name, addresses });

  return {
    url: null,
    faults: null,
    addKey: async (text, key) => {
      if (text === "" || keys.has(key.id) || idOfText.has(text)) throw new Error(`key ${key.id} exists`);
      keys.set(key.id, { ...key, created: at(), uses: 0 });
      idOfText.set(text, key.id);
    },
    keys: async () => [...keys.values()],
    revokeKey: async (id) => {
      const key = keys.get(id);
      if (key) key.revoked ??= at();
      return key !== undefined;
    },
    devices: async (after, signal) => {
      due();
      if (after !== undefined && version <= after) await newer(signal);
      return { version, devices: [...nodes.values()].map(({ device }) => ({ ...device })) };
    },
    async changeDevice(nodeId, change) {
      const node = nodes.get(nodeId);
      if (!node) return false;
      const { device } = node;
      const wrong = change.enabledRoutes?.find((route) => !/^[0-9a-f.:]+\/\d{1,3}$/i.test(route));
      if (wrong !== undefined) throw new Refusal(`${JSON.stringify(wrong)} is not a route`);
      if (change.name !== undefined) rename(node, change.name);
      if (change.ipv4 !== undefined) move(node, change.ipv4);
      if (change.enabledRoutes) device.enabledRoutes = change.enabledRoutes;
      if (change.tags) device.tags = change.tags;
      if (change.keyExpiryDisabled !== undefined) device.keyExpiryDisabled = change.keyExpiryDisabled;
      if (change.expire && !device.expired) {
        expire(node);
        emit("nodeKeyExpired", node, change.actor);
      }
      if (change.authorized !== undefined && change.authorized !== device.authorized) {
        device.authorized = change.authorized;
        if (change.authorized) emit("nodeApproved", node, change.actor);
      }
      due();
      changed();
      return true;
    },
    deleteDevice: async (nodeId, actor = "") => {
      const node = nodes.get(nodeId);
      if (node) remove(node, actor);
      return node !== undefined;
    },
    async events(after, signal) {
      due();
      if (log.length <= after) await newer(signal);
      return log.slice(after);
    },
    advance: async () => due(),
    close: async () => clearInterval(timer),

    register({ authKey, hostname, machineKey }, taken = false) {
      due();
      const key = keys.get(idOfText.get(authKey) ?? "");
      if (!key) return { error: "invalid key: API key does not exist" };
      const known = [...nodes.values()].find(({ device }) => device.machineKey === machineKey);
      const spent = !key.reusable && key.uses > 0;
      if (spent || key.revoked !== undefined || Date.parse(key.expires) <= clock.now()) {
        return { error: `invalid key: API key ${key.id} not valid` };
      }
      key.uses++;
      const node = known ?? addNode(machineKey ?? `mkey:${randomBytes(32).toString("hex")}`);
      const { device } = node;
      if (!known) device.authorized = key.preauthorized || !deviceApproval;
      Object.assign(device, {
        hostname,
        name: node.pinned ? device.name : freeName(hostname, device.nodeId, taken),
        tags: key.tags,
        ephemeral: key.ephemeral,
        keyId: key.id,
        keyExpiryDisabled: key.tags.length > 0,
        expires: at(clock.now() + keyLifeDays * dayMs),
        nodeKey: `nodekey:${randomBytes(32).toString("hex")}`,
        online: true,
        expired: false,
      });
      node.warned = false;
      if (!known) {
        emit("nodeCreated", node, key.id);
        if (!device.authorized) emit("nodeNeedsApproval", node, key.id);
      }
      changed();
      return registered(node);
    },
    logout(nodeId) {
      const node = nodes.get(nodeId);
      if (!node) return false;
      if (node.device.ephemeral) remove(node, nodeId);
      else expire(node);
      return true;
    },
    setOnline(nodeId, online, advertisedRoutes) {
      const device = nodes.get(nodeId)?.device;
      if (!device || device.expired) return false;
      Object.assign(device, { online, lastSeen: at() });
      if (advertisedRoutes) device.advertisedRoutes = advertisedRoutes;
      changed();
      return true;
    },
    async node(nodeId, after, signal) {
      due();
      if (after !== undefined && version <= after) await newer(signal);
      const device = nodes.get(nodeId)?.device;
      if (!device || device.expired) return { version, state: "NeedsLogin", peers: [] };
      if (!device.authorized) return { version, state: "NeedsMachineAuth", peers: [] };
      const peers = others(nodeId).filter((other) => other.device.authorized);
      return { version, state: "Running", peers: peers.flatMap((peer) => peer.device.addresses) };
    },
  };
}
