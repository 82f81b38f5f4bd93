/** A customer's machine in trouble: seen by heartbeats, repaired, and told of; on either kind of machine. */
import { strict as assert } from "node:assert";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import type { RepairedUnit } from "../../pool/machine/protocol.ts";
import type { ProcessBackend } from "../cloud/machines/process/backend.ts";
import type { World } from "./world.ts";

/**
 * The unit's process stops working, in a way that systemd does not notice where there is one.
 * @throws Error when there is no such process
 */
async function breakUnit({ rig: { cloud }, store }: World, name: MachineName, unit: RepairedUnit) {
  const serverId = store.machine(name)?.serverId;
  assert(serverId);
  if (!cloud.nspawn) return (cloud.backend as ProcessBackend).crash(serverId, unit);
  const asked =
    unit === "gateway"
      ? ["--user", "-M", "openclaw@", "show", "openclaw-gateway.service"]
      : ["show", "tailscaled.service"];
  const { stdout } = await cloud.nspawn.exec(serverId, ["systemctl", ...asked, "-p", "MainPID", "--value"]);
  const { code, stderr } = await cloud.nspawn.exec(serverId, ["kill", "-STOP", stdout.trim()]);
  assert.equal(code, 0, `${unit} (${stdout.trim()}): ${stderr}`);
}

/** Breaks it and waits until it is healthy again. @throws AssertionError when it was not repaired by one restart */
export async function repairs(world: World, order: OrderId, unit: RepairedUnit): Promise<void> {
  const { rig, store } = world;
  const name = world.machineOf(order);
  const from = store.auditRows({ subject: name, limit: Number.MAX_SAFE_INTEGER }).length;
  const rows = () => store.auditRows({ subject: name, limit: Number.MAX_SAFE_INTEGER }).slice(from);
  await breakUnit(world, name, unit);
  await rig.until(`${name} is healthy again`, async () =>
    rows().some(({ action }) => action === "machine.healthy"),
  );
  // What else is done to a machine that has only begun to serve is none of this.
  const told = rows().filter(
    ({ action }) => action !== "machine.changed" && /^(machine|flag)\./.test(action),
  );
  assert.deepEqual(
    told.map(({ action }) => action),
    [
      "machine.degraded",
      "flag.unhealthy",
      "machine.repaired",
      "machine.healthy",
      "flag.unhealthy.cleared",
    ].slice(0, told.length),
    JSON.stringify(told),
  );
  const { detail } = told.find(({ action }) => action === "machine.repaired") ?? assert.fail();
  assert.deepEqual([detail.unit, detail.ok], [unit, true]);
}
