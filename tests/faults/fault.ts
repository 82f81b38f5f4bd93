/**
 * A fault of the catalogue (catalogue.ts) as a test: it is made to happen, and then everything must come to rest with
 * all invariants kept.
 */

import { strict as assert } from "node:assert";
import type { FaultRig } from "./rig.ts";
import type { Scene } from "./scene.ts";
import { play } from "./scene.ts";

/** Of what was ordered of Hetzner and Stripe: a fault that hit nothing shows that the test does not do what it says. */
function spared({ rig: { cloud } }: FaultRig): string[] {
  return [cloud.hetzner.faults, cloud.stripe.faults].flatMap((faults) =>
    faults
      .list()
      .filter(({ hits }) => hits === 0)
      .map((fault) => JSON.stringify(fault)),
  );
}

/** On the local cloud: the daemon is a process, machines are folders, terraform and Ansible are the real ones. */
export function onLocalCloud(rig: () => FaultRig) {
  return (id: string, expected: string, happens: (rig: FaultRig) => Promise<void>): void => {
    it(`${id} ${expected}`, async () => {
      await happens(rig());
      assert.deepEqual(spared(rig()), []);
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
