/**
 * Makes a machine that served an order one of the pool again, from outside and for benchmarks only: building fifty
 * takes an hour. The product never does this; a machine that has seen a customer is never offered again.
 *
 * Undone on the machine: the record of the order, the login to the tailnet, the removal of the controller's own access
 * (so that each hand-over has it to remove again). Then the row goes back to `proving`, and the daemon itself
 * rehearses with it and arms it, as with every machine that it built.
 */

import { askDaemon } from "../../../pool/cli/admin-client.ts";
import { systemClock } from "../../../pool/clock.ts";
import type { MachineName } from "../../../pool/machine/machine.ts";
import { createSealer } from "../../../pool/secrets/seal.ts";
import { createAuditLog } from "../../../pool/store/audit.ts";
import { type Rig, until } from "./rig.ts";

const kept = "/var/lib/clawpool-bench";
const provingMs = 180_000;

/** Runs a script as root on a machine, past SSH. @throws Error with what it printed when it fails */
export async function onMachine({ cloud, store }: Rig, name: MachineName, script: string): Promise<string> {
  const id = store.machine(name)?.serverId;
  if (!cloud.nspawn || id == null) throw new Error(`there is no server of ${name}`);
  const { code, stdout, stderr } = await cloud.nspawn.exec(id, ["sh", "-ec", script]);
  if (code !== 0) throw new Error(`on ${name}: ${stderr || stdout}`);
  return stdout;
}

/** Before a machine's first hand-over: copies of what the hand-over will take away. */
export async function keepAdminAccess(rig: Rig, name: MachineName): Promise<void> {
  await onMachine(
    rig,
    name,
    `mkdir -p -m 700 ${kept}; cp -a /etc/sudoers.d /home/clawpool/.ssh/authorized_keys ${kept}/`,
  );
}

/** Resolves when the daemon holds the hand-over program armed, with its connection to the gateway. */
export async function armed(rig: Rig, name: MachineName): Promise<void> {
  // 0x4965 is the gateway's port, state 01 an established connection: nobody else on the machine has one.
  const count = "grep -cE ' 0100007F:4965 01 ' /proc/net/tcp || true";
  await until(`${name} armed`, 60_000, async () => Number(await onMachine(rig, name, count)) > 0);
}

/** Keeps the daemon off a machine while `work` runs; then it looks at it at once. */
export async function withHold<T>(rig: Rig, name: MachineName, work: () => Promise<T>): Promise<T> {
  let id = "";
  await until(`${name} held`, 60_000, async () => {
    const request = { command: "deploy", stacks: [name], actor: "benchmark" };
    const grant = await askDaemon<{ id: string }>(
      rig.config.stateDir,
      "POST",
      "/people/begin",
      request,
    ).catch((error: { status?: number }) => {
      if (error.status === 409) return null;
      throw error;
    });
    id = grant?.id ?? "";
    return grant !== null;
  });
  try {
    return await work();
  } finally {
    await askDaemon(rig.config.stateDir, "POST", "/people/end", { id, exitCode: 0 });
  }
}

/** Resolves when the machine is ready and armed again. `token` is the gateway token that it has now. */
export async function recycle(rig: Rig, name: MachineName, token: string): Promise<void> {
  const { store, tailnet } = rig;
  const state = store.machine(name)?.state;
  if (state === "serving") {
    await until(`${name} labelled`, 120_000, () => store.machine(name)?.labelled === true);
  }
  await withHold(rig, name, async () => {
    const node = store.machine(name)?.tailnetNode;
    const hadAdmin = await onMachine(
      rig,
      name,
      `test -e /home/clawpool/.ssh/authorized_keys && echo yes || true`,
    );
    if (hadAdmin.trim() === "yes") throw new Error(`the hand-over left the controller's access on ${name}`);
    await onMachine(
      rig,
      name,
      `rm -f /var/lib/clawpool/hand-over.json; tailscale logout
       cp -a ${kept}/sudoers.d/. /etc/sudoers.d/; cp -a ${kept}/authorized_keys /home/clawpool/.ssh/`,
    );
    if (node) await tailnet.deleteDevice(node);
    backToProving(rig, name, token);
  });
  await until(`${name} ready`, provingMs, () => {
    const machine = store.machine(name);
    return machine?.state === "ready" && !machine.withheld;
  });
  await armed(rig, name);
}

function backToProving({ db, store, config }: Rig, name: MachineName, token: string): void {
  const secrets = { ...store.machineSecrets(name), poolToken: token };
  const sealed = createSealer(config.sealingKeys).seal(JSON.stringify(secrets), `machine/${name}/secrets`);
  const now = Date.now();
  db.transaction(() => {
    db.prepare(
      `UPDATE orders SET state = 'released', machine = NULL, ended_at = @now, release_at = @now,
              reason = 'benchmark: its machine was recycled' WHERE machine = @name`,
    ).run({ name, now });
    db.prepare(
      `UPDATE machine SET state = 'proving', state_since = @now, deadline = @deadline, attempts = 0,
              next_look_at = 0, order_id = NULL, generation = 0, tailnet_node = NULL, tailnet_address = NULL,
              enrolled = 0, labelled = 0, secrets = @sealed WHERE name = @name`,
    ).run({ name, now, deadline: now + provingMs, sealed });
    const why = "a benchmark hands it over again";
    createAuditLog(db, systemClock).append("benchmark", "machine.recycled", name, { why });
  }).immediate();
}
