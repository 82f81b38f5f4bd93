/** The search for secrets in everything that a run leaves behind or shows to other processes. */
import { strict as assert } from "node:assert";
import { readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { temporaryFolders } from "./canaries.ts";
import type { World } from "./world.ts";

/** Parts of a machine's disk where the customer's secrets are at home: OpenClaw's state, `.env` in it. */
const ownState = /^home\/openclaw\/\.openclaw\//;
/** cloud-init keeps the user_data that it was given; the boot host key in it is replaced at the first connection. */
const cloudInit = /^var\/lib\/cloud\//;

/**
 * Store with its write-ahead log, logs, terraform folders with state and run logs, temporary folders, machines' disks
 * and journals. The one exception, exactly: a live machine's boot host key in its own user_data.
 */
export async function assertNothingTold(world: World): Promise<void> {
  const { rig, canaries, store } = world;
  assert(canaries.count > 20, `only ${canaries.count} secrets are known`);
  const { stateDir } = rig.operator;
  const live = store.machines({ live: true });
  const isUserData = (file: string) =>
    live.some(({ name }) => file === join(stateDir, "terraform", "machines", name, "cdk.tf.json"));
  const found = await canaries.inFiles(
    [stateDir, rig.daemon.logFile, ...(await temporaryFolders(rig.dir))],
    isUserData,
  );
  assert.deepEqual(found, []);
  for (const { name } of live) {
    const stack = join(stateDir, "terraform", "machines", name, "cdk.tf.json");
    assert.deepEqual(await canaries.inFiles([stack]), [`${stack}: boot host key of ${name}`]);
  }
  for (const { name, serverId } of live) {
    if (serverId === null) continue;
    const disk = await diskOf(world, serverId);
    const onDisk = await canaries.inFiles([disk], (file) => {
      const path = relative(disk, file);
      return ownState.test(path) || cloudInit.test(path);
    });
    assert.deepEqual(onDisk, [], `the disk of ${name}`);
    const seeds = await canaries.inFiles([disk], (file) => !cloudInit.test(relative(disk, file)));
    assert.deepEqual(
      seeds.filter((line) => !line.endsWith(`boot host key of ${name}`)),
      [],
    );
    const journal = await rig.cloud.nspawn?.exec(serverId, [
      "journalctl",
      "--no-pager",
      "--all",
      "-o",
      "export",
    ]);
    if (journal) {
      assert(journal.stdout.length > 10_000, "the journal is empty");
      assert.deepEqual(canaries.in(journal.stdout), [], `the journal of ${name}`);
    }
  }
}

/** The machine's own layer over the shared root, or the folder that stands for its root. */
async function diskOf({ rig }: World, serverId: number): Promise<string> {
  if (rig.cloud.rootOf) return rig.cloud.rootOf(serverId);
  const machines = join(rig.dir, "machines");
  const [nspawn] = await readdir(machines);
  return join(machines, nspawn ?? "", String(serverId), "upper");
}

/** Nobody who can list the processes of this host learns anything; terraform gets a token of its own, good for one run. */
export async function assertProcessesTellNothing({ canaries }: World): Promise<void> {
  const { commandLines, environments, looks } = await canaries.processes();
  const has = (texts: readonly string[], part: string) => texts.some((text) => text.includes(part));
  assert(looks > 50 && has(commandLines, "ansible-playbook") && has(commandLines, "terraform apply"));
  assert(has(environments, "HCLOUD_TOKEN="), "no environment of a terraform run was seen");
  assert.deepEqual(canaries.in(commandLines.join("\n")), [], "command lines");
  assert.deepEqual(canaries.in(environments.join("\n")), [], "environments");
}
