import type { MachineBackend, MachineSpec } from "./backend.ts";

/**
 * Machines that are nothing but an address and a switch, for tests of the API alone. Nothing answers at the
 * addresses (198.18.0.0/15, set aside for benchmarks by RFC 2544).
 */
export interface NullBackend extends MachineBackend {
  /** Machines that exist, by id, with what they were made from. */
  readonly machines: ReadonlyMap<number, MachineSpec>;
}

export function nullBackend(): NullBackend {
  const machines = new Map<number, MachineSpec>();
  const on = new Set<number>();
  const addresses = new Map<number, number>();

  const known = (id: number) => {
    if (!machines.has(id)) throw new Error(`no machine ${id}`);
  };
  const freeNumber = () => {
    const taken = new Set(addresses.values());
    let number = 1;
    while (taken.has(number)) number++;
    return number;
  };

  return {
    kind: "process",
    machines,
    missing: async () => [],
    start: async () => {},
    create: async (spec) => {
      const number = freeNumber();
      machines.set(spec.id, spec);
      addresses.set(spec.id, number);
      return { ipv4: `198.18.${Math.floor(number / 256)}.${number % 256}` };
    },
    powerOn: async (id) => {
      known(id);
      on.add(id);
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
      known(id);
      on.add(id);
    },
    isOn: (id) => on.has(id),
    destroy: async (id) => {
      known(id);
      machines.delete(id);
      on.delete(id);
      addresses.delete(id);
    },
    stop: async () => {
      machines.clear();
      on.clear();
      addresses.clear();
    },
  };
}
