/**
 * What every machine backend must do, whatever its machines are made of. A test file calls
 * `machineContract("nspawn", makeBackend)` at its top level or inside a `describe`. What one kind cannot do is part of
 * the contract too: there it says so.
 */
import { diskContract } from "./contract/disks.ts";
import { faultContract } from "./contract/faults.ts";
import { lifeContract } from "./contract/life.ts";
import { addressContract, privateNetworkContract } from "./contract/networks.ts";
import { type BackendUnderTest, contractRig } from "./contract/rig.ts";

/** `timeoutMs` bounds each test; a machine that does not come up is a failure by it. */
export function machineContract(
  kind: "nspawn" | "process",
  makeBackend: () => Promise<BackendUnderTest>,
  timeoutMs = 60_000,
): void {
  describe(`machine contract: ${kind}`, function () {
    this.timeout(timeoutMs);
    const rig = contractRig(makeBackend);
    describe("life", () => lifeContract(rig));
    describe("disks", () => diskContract(rig));
    describe("public addresses", () => addressContract(rig));
    describe("private networks", () => privateNetworkContract(rig, kind));
    describe("faults", () => faultContract(rig));
  });
}
