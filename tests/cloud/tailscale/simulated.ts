/**
 * A tailnet without a network, for machines that are folders: nodes join by a call. Keys, names, addresses,
 * logout and deletion follow the same rules as in control/, held together by one contract suite.
 */
import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import type { Control, ControlDevice, ControlKey } from "./control.ts";

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

export interface SimulatedControl extends Control {
  /** The node, online from now on; or the refusal in Tailscale's words. */
  register(request: Registration): Registered | { readonly error: string };
  /** An ephemeral node vanishes, others stay listed, expired. False when there is no such node. */
  logout(nodeId: string): boolean;
  /** The machine went away or came back. False when there is no such node or it is logged out. */
  setOnline(nodeId: string, online: boolean): boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function simulatedControl(options: { readonly domain?: string } = {}): SimulatedControl {
  const { domain = "clawpool.ts.net" } = options;
  const keys = new Map<string, Mutable<ControlKey>>();
  const idOfText = new Map<string, string>();
  const nodes = new Map<string, Mutable<ControlDevice>>();
  const events = new EventEmitter().setMaxListeners(0);
  let version = 0;
  let lastNode = 0;

  const changed = () => {
    version++;
    events.emit("changed");
  };
  const now = () => new Date().toISOString();
  const freeName = (hostname: string, nodeId: string) => {
    const base =
      hostname
        .toLowerCase()
        .replace(/[^a-z0-9-]+/g, "-")
        .replace(/^-+|-+$/g, "")
        .slice(0, 63) || "node";
    const taken = new Set([...nodes.values()].filter((n) => n.nodeId !== nodeId).map((n) => n.name));
    for (let i = 0; ; i++) {
      const name = `${i === 0 ? base : `${base}-${i}`}.${domain}`;
      if (!taken.has(name)) return name;
    }
  };
  const addNode = (machineKey: string): Mutable<ControlDevice> => {
    const id = ++lastNode;
    const node = {
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
      expired: false,
      ephemeral: false,
      created: now(),
      lastSeen: now(),
      keyId: "",
      nodeKey: "",
      machineKey,
      os: "linux",
      clientVersion: "simulated",
    };
    nodes.set(node.nodeId, node);
    return node;
  };

  return {
    url: null,
    addKey: async (text, key) => {
      if (text === "" || keys.has(key.id) || idOfText.has(text)) throw new Error(`key ${key.id} exists`);
      keys.set(key.id, { ...key, created: now(), uses: 0 });
      idOfText.set(text, key.id);
    },
    keys: async () => [...keys.values()],
    revokeKey: async (id) => {
      const key = keys.get(id);
      if (key) key.revoked ??= now();
      return key !== undefined;
    },
    devices: async (after, signal) => {
      if (after !== undefined && version <= after) {
        const late = AbortSignal.timeout(25_000);
        const either = signal ? AbortSignal.any([late, signal]) : late;
        await once(events, "changed", { signal: either }).catch(() => signal?.throwIfAborted());
      }
      return { version, devices: [...nodes.values()].map((node) => ({ ...node })) };
    },
    deleteDevice: async (nodeId) => {
      const was = nodes.delete(nodeId);
      if (was) changed();
      return was;
    },
    close: async () => {},

    register({ authKey, hostname, machineKey = `mkey:${randomBytes(32).toString("hex")}` }) {
      const key = keys.get(idOfText.get(authKey) ?? "");
      if (!key) return { error: "invalid key: API key does not exist" };
      const spent = !key.reusable && key.uses > 0;
      if (spent || key.revoked !== undefined || Date.parse(key.expires) <= Date.now()) {
        return { error: `invalid key: API key ${key.id} not valid` };
      }
      key.uses++;
      const node = [...nodes.values()].find((n) => n.machineKey === machineKey) ?? addNode(machineKey);
      Object.assign(node, {
        hostname,
        name: freeName(hostname, node.nodeId),
        tags: key.tags,
        ephemeral: key.ephemeral,
        keyId: key.id,
        nodeKey: `nodekey:${randomBytes(32).toString("hex")}`,
        online: true,
        expired: false,
      });
      changed();
      return { nodeId: node.nodeId, name: node.name, addresses: node.addresses };
    },
    logout(nodeId) {
      const node = nodes.get(nodeId);
      if (!node) return false;
      if (node.ephemeral) nodes.delete(nodeId);
      else Object.assign(node, { online: false, expired: true, lastSeen: now() });
      changed();
      return true;
    },
    setOnline(nodeId, online) {
      const node = nodes.get(nodeId);
      if (!node || node.expired) return false;
      Object.assign(node, { online, lastSeen: now() });
      changed();
      return true;
    },
  };
}
