/**
 * A fault of the catalogue (catalogue.ts) as a test: it is made to happen, and then everything must come to rest with
 * all invariants kept.
 */

import type { FaultRig } from "./rig.ts";
import type { Scene } from "./scene.ts";
import { play } from "./scene.ts";

/** On the local cloud: the daemon is a process, machines are folders, terraform and Ansible are the real ones. */
export function onLocalCloud(rig: () => FaultRig) {
  return (id: string, expected: string, happens: (rig: FaultRig) => Promise<void>): void => {
    it(`${id} ${expected}`, async () => {
      await happens(rig());
      await rig().settle();
    });
  };
}

/** Under simulation, which checks by itself. */
export function simulated(
  id: string,
  expected: string,
  happens: (scene: Scene) => Promise<void>,
  options: Parameters<typeof play>[1] = {},
): void {
  it(`${id} ${expected}`, async () => {
    await play(happens, options);
  });
}

/** On parts of the program alone; what is left of the invariants then is said in the test. */
export function onParts(id: string, expected: string, happens: () => Promise<void>): void {
  it(`${id} ${expected}`, happens);
}
