import {
  type BootFault,
  type MachineBackend,
  type MachineSpec,
  type MachineUsage,
  noUsage,
  type PrivateInterface,
  type RescueSpec,
  type VolumeSpec,
} from "./backend.ts";

/** One machine of the null backend, as the calls have left it. */
export interface NullMachine extends MachineSpec {
  readonly ipv4: string | null;
  readonly rescue: RescueSpec | null;
  /** It runs the rescue system. */
  readonly rescued: boolean;
  /** How often its disk was begun anew. */
  readonly rebuilds: number;
  readonly rootPassword: string | null;
  readonly networks: readonly PrivateInterface[];
  readonly bootFaults: readonly BootFault[];
  readonly vanished: boolean;
}

export interface NullVolume extends VolumeSpec {
  readonly machine: number | null;
  readonly automount: boolean;
}

/**
 * Machines that are nothing but an address and a switch, for tests of the API alone. Nothing answers at the
 * addresses (198.18.0.0/15, set aside for benchmarks by RFC 2544).
 */
export interface NullBackend extends MachineBackend {
  readonly machines: ReadonlyMap<number, NullMachine>;
  readonly volumes: ReadonlyMap<number, NullVolume>;
  /** By handle, what each is a copy of. */
  readonly snapshots: ReadonlyMap<string, NullMachine>;
  readonly addresses: ReadonlySet<string>;
  readonly routes: ReadonlyMap<number, readonly { readonly destination: string; readonly gateway: string }[]>;
  /** What `usage` of a machine that is on says from now on; at first nothing was used. */
  used(id: number, usage: Partial<MachineUsage>): void;
}

export function nullBackend(): NullBackend {
  const machines = new Map<number, NullMachine>();
  const volumes = new Map<number, NullVolume>();
  const snapshots = new Map<string, NullMachine>();
  const routes = new Map<number, readonly { destination: string; gateway: string }[]>();
  const on = new Map<number, MachineUsage>();
  const addresses = new Set<string>();
  /** Given back, the next one first. */
  const freed: string[] = [];
  let given = 0;
  let snapshotsMade = 0;
  let atOnce = false;

  const known = (id: number): NullMachine => {
    const machine = machines.get(id);
    if (!machine) throw new Error(`no machine ${id}`);
    return machine;
  };
  const patch = (id: number, change: Partial<NullMachine>) => {
    machines.set(id, { ...known(id), ...change });
  };
  const volumeOf = (id: number): NullVolume => {
    const volume = volumes.get(id);
    if (!volume) throw new Error(`no volume ${id}`);
    return volume;
  };
  const snapshotOf = (handle: string | undefined) => {
    if (handle !== undefined && !snapshots.has(handle)) throw new Error(`no snapshot ${handle}`);
  };
  const take = (): string => {
    const old = atOnce || given >= 2 ** 16 ? freed.shift() : undefined;
    if (old === undefined) given++;
    const address = old ?? `198.18.${Math.floor(given / 256)}.${given % 256}`;
    addresses.add(address);
    return address;
  };
  const free = (address: string | null) => {
    if (address === null || !addresses.delete(address)) return;
    if (atOnce) freed.unshift(address);
    else freed.push(address);
  };
  const boot = (id: number) => {
    const machine = known(id);
    if (machine.vanished) throw new Error(`machine ${id} has vanished`);
    patch(id, { rescued: machine.rescue !== null, rescue: null });
    on.set(id, noUsage);
  };

  return {
    kind: "process",
    machines,
    volumes,
    snapshots,
    addresses,
    routes,
    used: (id, usage) => {
      on.set(id, { ...noUsage, ...on.get(id), ...usage });
    },
    missing: async () => [],
    start: async () => {},
    create: async (spec) => {
      if (machines.has(spec.id)) throw new Error(`machine ${spec.id} exists`);
      snapshotOf(spec.snapshot);
      const ipv4 = take();
      machines.set(spec.id, {
        ...spec,
        ipv4,
        rescue: null,
        rescued: false,
        rebuilds: 0,
        rootPassword: null,
        networks: [],
        bootFaults: [],
        vanished: false,
      });
      return { ipv4 };
    },
    powerOn: async (id) => {
      known(id);
      if (!on.has(id)) boot(id);
    },
    powerOff: async (id) => {
      known(id);
      on.delete(id);
    },
    shutdown: async (id) => {
      known(id);
      on.delete(id);
    },
    reboot: async (id) => {
      boot(id);
    },
    isOn: (id) => on.has(id),
    destroy: async (id) => {
      const { ipv4 } = known(id);
      machines.delete(id);
      on.delete(id);
      free(ipv4);
      for (const volume of volumes.values()) {
        if (volume.machine === id) volumes.set(volume.id, { ...volume, machine: null, automount: false });
      }
    },
    stop: async () => {
      for (const held of [machines, volumes, snapshots, routes, on, addresses]) held.clear();
      freed.length = 0;
      given = 0;
    },

    rebuild: async (id, spec) => {
      const { rebuilds, snapshot: _snapshot, ...machine } = known(id);
      snapshotOf(spec.snapshot);
      on.delete(id);
      machines.set(id, { ...machine, ...spec, rebuilds: rebuilds + 1, rootPassword: null, vanished: false });
    },
    setRescue: async (id, rescue) => patch(id, { rescue }),
    resetPassword: async (id, rootPassword) => {
      if (!on.has(id)) throw new Error(`machine ${id} is off`);
      patch(id, { rootPassword });
    },
    resize: async (id, size) => patch(id, size),
    snapshot: async (id) => {
      const handle = `null-${++snapshotsMade}`;
      snapshots.set(handle, known(id));
      return { handle, bytes: 2 ** 30 };
    },
    deleteSnapshot: async (handle) => {
      snapshotOf(handle);
      snapshots.delete(handle);
    },
    usage: async (id) => {
      known(id);
      return on.get(id) ?? null;
    },

    reserveAddress: async () => take(),
    releaseAddress: async (ipv4) => free(ipv4),
    setAddress: async (id, ipv4) => {
      if (on.has(id)) throw new Error(`machine ${id} is on`);
      if (ipv4 !== null && !addresses.has(ipv4)) throw new Error(`${ipv4} is not reserved`);
      patch(id, { ipv4 });
    },
    reuseAddressesAtOnce: (value) => {
      atOnce = value;
    },

    attachNetwork: async (id, network) => {
      const others = known(id).networks.filter((entry) => entry.network !== network.network);
      patch(id, { networks: [...others, network] });
    },
    detachNetwork: async (id, network) =>
      patch(id, { networks: known(id).networks.filter((entry) => entry.network !== network) }),
    setAliasIps: async (id, network, aliasIps) =>
      patch(id, {
        networks: known(id).networks.map((entry) =>
          entry.network === network ? { ...entry, aliasIps } : entry,
        ),
      }),
    setRoutes: async (network, list) => {
      routes.set(network, list);
    },

    createVolume: async (volume) => {
      volumes.set(volume.id, { ...volume, machine: null, automount: false });
    },
    resizeVolume: async (id, size) => {
      volumes.set(id, { ...volumeOf(id), size });
    },
    deleteVolume: async (id) => {
      if (volumeOf(id).machine !== null) throw new Error(`volume ${id} is attached`);
      volumes.delete(id);
    },
    attachVolume: async (id, volume, automount) => {
      known(id);
      if (volumeOf(volume).machine !== null) throw new Error(`volume ${volume} is attached`);
      volumes.set(volume, { ...volumeOf(volume), machine: id, automount });
    },
    detachVolume: async (id, volume) => {
      if (volumeOf(volume).machine !== id) throw new Error(`volume ${volume} is not attached to ${id}`);
      volumes.set(volume, { ...volumeOf(volume), machine: null, automount: false });
    },

    setBootFaults: async (id, bootFaults) => patch(id, { bootFaults }),
    vanish: async (id) => {
      on.delete(id);
      patch(id, { vanished: true });
    },
  };
}
