/** What can be attached to machines and taken away again, also while they run: private networks and volumes. */
import type { MachineBackend, VolumeSpec } from "../backend.ts";
import { type Host, inTurn, live, type Machine, type PrivatePort, plug } from "./machine.ts";
import { freeDevice, hide, show } from "./shown-volumes.ts";
import { growVolume, makeVolume, removeVolume, volumeFile } from "./volumes.ts";

export interface Attaching {
  /** @throws when there is none with this id. */
  machine(serverId: number): Machine;
  readonly machines: ReadonlyMap<number, Machine>;
  host(): Host;
}

type NetworkVerbs = Pick<MachineBackend, "attachNetwork" | "detachNetwork" | "setAliasIps" | "setRoutes">;

export function networkVerbs({ machine, machines, host }: Attaching): NetworkVerbs {
  function port(target: Machine, network: number): PrivatePort {
    const found = target.networks.find(({ own }) => own.network === network);
    if (!found) throw new Error(`machine ${target.spec.id} is not in network ${network}`);
    return found;
  }

  return {
    async attachNetwork(serverId, own) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        if (target.networks.some((each) => each.own.network === own.network))
          throw new Error(`machine ${serverId} is in network ${own.network} already`);
        const added: PrivatePort = { own, device: freeInterface(target.networks) };
        await plug(host(), target, added);
        target.networks.push(added);
      });
    },
    async detachNetwork(serverId, network) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        const gone = port(target, network);
        await host().networks.unplug({ port: target.containerName }, gone.own);
        target.networks.splice(target.networks.indexOf(gone), 1);
      });
    },
    async setAliasIps(serverId, network, aliasIps) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        const changed = port(target, network);
        await host().networks.setAliasIps(changed.own, aliasIps);
        changed.own = { ...changed.own, aliasIps };
      });
    },
    async setRoutes(network, routes) {
      const ends = [...machines.values()].flatMap((each) => {
        const container = each.boot?.cutOff ? null : live(each);
        const plugged = each.networks.find(({ own }) => own.network === network);
        return container && plugged ? [{ container, ...plugged }] : [];
      });
      const plugs = await Promise.all(
        ends.map(async ({ container, device, own }) => {
          // One that just went down finds the new routes at its next boot.
          const pid = await container.init().catch(() => null);
          return pid === null ? [] : [{ pid, device, own }];
        }),
      );
      await host().networks.setRoutes(network, routes, plugs.flat());
    },
  };
}

/** As Hetzner's servers call them: the first one is enp7s0. */
function freeInterface(networks: readonly PrivatePort[]): string {
  let bus = 7;
  while (networks.some(({ device }) => device === `enp${bus}s0`)) bus++;
  return `enp${bus}s0`;
}

type VolumeVerbs = Pick<
  MachineBackend,
  "createVolume" | "resizeVolume" | "deleteVolume" | "attachVolume" | "detachVolume"
>;

export interface VolumeShelf {
  readonly verbs: VolumeVerbs;
  /** Detaches all volumes of a machine that is about to be removed and is off. */
  letGo(machine: Machine): void;
  clear(): void;
}

interface Volume extends VolumeSpec {
  readonly machine: number | null;
}

export function volumeShelf({ machine, host }: Attaching): VolumeShelf {
  const volumes = new Map<number, Volume>();
  const file = (volumeId: number) => volumeFile(host().rig.dir, volumeId);
  function volume(volumeId: number): Volume {
    const found = volumes.get(volumeId);
    if (!found) throw new Error(`no volume ${volumeId}`);
    return found;
  }

  const verbs: VolumeVerbs = {
    async createVolume(spec) {
      if (volumes.has(spec.id)) throw new Error(`volume ${spec.id} exists already`);
      await makeVolume(file(spec.id), spec);
      volumes.set(spec.id, { ...spec, machine: null });
    },
    async resizeVolume(volumeId, size) {
      const { machine: holder } = volume(volumeId);
      const shown = holder === null ? undefined : machine(holder).volumes.find(({ id }) => id === volumeId);
      await growVolume(file(volumeId), size, shown?.loop ?? null);
      volumes.set(volumeId, { ...volume(volumeId), size });
    },
    async deleteVolume(volumeId) {
      if (volume(volumeId).machine !== null) throw new Error(`volume ${volumeId} is attached`);
      volumes.delete(volumeId);
      await removeVolume(file(volumeId));
    },
    async attachVolume(serverId, volumeId, automount) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        if (volume(volumeId).machine !== null) throw new Error(`volume ${volumeId} is attached`);
        const added = {
          id: volumeId,
          file: file(volumeId),
          automount,
          device: freeDevice(target.volumes),
          loop: null,
        };
        if (target.boot) await show(added, target.boot);
        target.volumes.push(added);
        volumes.set(volumeId, { ...volume(volumeId), machine: serverId });
      });
    },
    async detachVolume(serverId, volumeId) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        const gone = target.volumes.find((each) => each.id === volumeId);
        if (!gone) throw new Error(`volume ${volumeId} is not attached to machine ${serverId}`);
        await hide(gone, live(target));
        target.volumes.splice(target.volumes.indexOf(gone), 1);
        volumes.set(volumeId, { ...volume(volumeId), machine: null });
      });
    },
  };
  return {
    verbs,
    letGo(target) {
      for (const { id } of target.volumes) volumes.set(id, { ...volume(id), machine: null });
    },
    clear: () => volumes.clear(),
  };
}
