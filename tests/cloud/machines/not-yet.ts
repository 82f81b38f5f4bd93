import type { MachineBackend } from "./backend.ts";

type Core =
  | "kind"
  | "missing"
  | "start"
  | "create"
  | "powerOn"
  | "powerOff"
  | "shutdown"
  | "reboot"
  | "isOn"
  | "destroy"
  | "stop";

const refuse = (what: string) => async (): Promise<never> => {
  throw new Error(`this backend cannot ${what} yet`);
};

/** What a backend refuses in words until it can do it; spread first, so that what it can stands above. */
export const notYet: Omit<MachineBackend, Core> = {
  rebuild: refuse("rebuild"),
  setRescue: refuse("boot a rescue system"),
  resetPassword: refuse("set a password"),
  resize: refuse("resize"),
  snapshot: refuse("take snapshots"),
  deleteSnapshot: refuse("delete snapshots"),
  usage: async () => null,
  reserveAddress: refuse("reserve addresses"),
  releaseAddress: refuse("release addresses"),
  setAddress: refuse("change an address"),
  reuseAddressesAtOnce: () => {},
  attachNetwork: refuse("attach networks"),
  detachNetwork: refuse("detach networks"),
  setAliasIps: refuse("set alias addresses"),
  setRoutes: refuse("set routes"),
  createVolume: refuse("make volumes"),
  resizeVolume: refuse("resize volumes"),
  deleteVolume: refuse("delete volumes"),
  attachVolume: refuse("attach volumes"),
  detachVolume: refuse("detach volumes"),
  setBootFaults: refuse("fail at boot"),
  vanish: refuse("vanish"),
};
