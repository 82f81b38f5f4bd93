/** T1-T12: terraform that is killed, whose states lie or cannot be written, whose plans want what must not be. */
import { strict as assert } from "node:assert";
import { lstatSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { Machine, MachineName } from "../../pool/machine/machine.ts";
import type { PeopleGrant } from "../../pool/people/people.ts";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import type { FaultInput } from "../cloud/hetzner/faults.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";
import { providerIn, signal, terraformIn } from "./terraform-processes.ts";

const lookEveryMs = 20;
/** Of memory, and so of a tmpfs. */
const pageSize = 4_096;

/** terraform; the first state of the apply behind the making of `next` is on a disk that is full. */
const terraformOnFullDisk = (disks: string): string => `#!/bin/sh
if [ "$1" = apply ] && [ ! -e terraform.tfstate ] && mv "${disks}/next" "${disks}/taken" 2>/dev/null; then
  ln -s "${disks}/full/terraform.tfstate" terraform.tfstate
fi
exec terraform "$@"
`;

describe("faults: terraform, on the local cloud", function () {
  this.timeout(300_000);
  let rig: FaultRig & { stop(): Promise<void> };
  let disks: string;

  before(async () => {
    disks = await mkdtemp(join(tmpdir(), "clawpool-disk-"));
    const terraformBin = join(disks, "terraform");
    await writeFile(terraformBin, terraformOnFullDisk(disks), { mode: 0o755 });
    rig = await startFaultRig({ minReady: 2, maxTotal: 24, failurePause: "1s", terraformBin });
    await rig.ready(2);
  });
  after(async () => {
    await rig?.stop();
    await rm(disks, { recursive: true, force: true });
  });

  const fault = onLocalCloud(() => rig);
  const hetzner = () => rig.rig.cloud.hetzner;
  const add = (input: FaultInput) => hetzner().faults.add(input);
  /** Resolves when the fault has hit: what it holds is held now. */
  const struck = async (id: number) => {
    while (
      !hetzner()
        .faults.list()
        .some((one) => one.id === id && one.hits > 0)
    )
      await delay(lookEveryMs);
  };
  const bought = (name: string) =>
    hetzner()
      .bill()
      .lines.filter((line) => line.name === name);
  const stateOf = (name: MachineName) => join(rig.folderOf(name), "terraform.tfstate");
  const readState = (name: MachineName) =>
    JSON.parse(readFileSync(stateOf(name), "utf8")) as { serial: number; lineage: string };

  function again(pid: number, wanted: NodeJS.Signals): void {
    try {
      process.kill(pid, wanted);
    } catch {
      // The first was enough.
    }
  }
  /** Another machine whose order is on its way, `before` or `after` Hetzner has made it. */
  async function held(when: "before" | "after", ms = 1_500): Promise<Machine> {
    const fault = add({ method: "POST", path: "/servers", effect: { kind: "delay", ms, when } });
    const machine = await rig.another();
    await struck(fault);
    return machine;
  }
  const clawpool = (...args: string[]) =>
    execa(process.execPath, clawpoolArgs(rig.rig.operator.configFile, ...args), { reject: false });

  /** A person has begun a destroy and ended it: the machine is looked at now, and not in a minute. */
  async function lookAt(name: MachineName): Promise<void> {
    const { state } = rig.store.machine(name) ?? assert.fail();
    rig.store.changeMachine(name, state, { nextLookAt: 0 }, "looked at now");
    const request = { command: "destroy", stacks: [name], actor: "person:test" };
    const { id } = await rig.rig.ask<PeopleGrant>("POST", "/people/begin", request);
    await rig.rig.ask("POST", "/people/end", { id, exitCode: 0 });
  }

  fault("T1", "terraform killed before or after its order: one server, and it is used or goes", async () => {
    for (const when of ["before", "after"] as const) {
      const machine = await held(when);
      signal(terraformIn(rig.folderOf(machine.name)), "SIGKILL");
      await rig.became(machine.name, "ready", "destroyed");
      assert.equal(bought(machine.name).length, 1, when);
    }
  });

  fault("T2", "a daemon killed over terraform waits for that one and buys nothing twice", async () => {
    const machine = await held("after");
    const orphans = terraformIn(rig.folderOf(machine.name));
    // So that it is still there when the next daemon looks.
    for (const pid of orphans) process.kill(pid, "SIGSTOP");
    try {
      await rig.rig.daemon.kill();
      await rig.rig.restart();
      const { store } = rig;
      await rig.serve("t2");
      assert.equal(store.machine(machine.name)?.state, "creating");
    } finally {
      for (const pid of orphans) process.kill(pid, "SIGCONT");
    }
    await rig.became(machine.name, "ready", "destroyed");
    assert.equal(bought(machine.name).length, 1);
  });

  fault("T3", "terraform told to stop once and twice: what it leaves is used or goes", async () => {
    for (const times of [1, 2]) {
      const machine = await held("after");
      const pids = terraformIn(rig.folderOf(machine.name));
      signal(pids, "SIGTERM");
      if (times === 2) for (const pid of pids) again(pid, "SIGTERM");
      await rig.became(machine.name, "ready", "destroyed");
      assert.equal(bought(machine.name).length, 1, `${times} times`);
    }
  });

  fault("T4", "a state that is empty, cut off, older or another's is never worked on", async () => {
    const { store } = rig;
    const spoilt: ((text: string, state: { serial: number; lineage: string }) => string)[] = [
      () => "",
      (text) => text.slice(0, text.length / 2),
      (_, state) => JSON.stringify({ ...state, serial: state.serial - 1 }),
      (_, state) => JSON.stringify({ ...state, lineage: "00000000-0000-0000-0000-000000000000" }),
    ];
    const served = await rig.serve("t4");
    const name = rig.machineOf(served.id);
    await rig.rig.until("its labels are applied", async () => store.machine(name)?.labelled);
    const good = readFileSync(stateOf(name), "utf8");
    for (const spoil of spoilt) {
      writeFileSync(stateOf(name), spoil(good, readState(name)));
      const { exitCode, stdout } = await clawpool("state");
      assert.equal(exitCode, 1, stdout);
      const restored = await clawpool("state", "restore", name);
      assert.equal(restored.exitCode, 0, restored.stderr);
      assert.equal(readFileSync(stateOf(name), "utf8"), good);
    }
    // A machine that goes does not wait for its state.
    const [warm] = rig.machines("ready");
    assert(warm);
    writeFileSync(stateOf(warm.name), "");
    await rig.configure({ minReady: 0 });
    await rig.became(warm.name, "destroyed");
    await rig.configure({ minReady: 2 });
    assert.equal((await rig.hetzner(`/servers/${warm.serverId}`)).status, 404);
  });

  fault(
    "T5",
    "a state that terraform cannot write is found beside its own, and put in its place",
    async () => {
      const full = join(disks, "full");
      await mkdir(full);
      await execa("mount", ["-t", "tmpfs", "-o", `size=${pageSize}`, "tmpfs", full]);
      try {
        writeFileSync(join(full, "other"), Buffer.alloc(pageSize));
        writeFileSync(join(disks, "next"), "");
        const machine = await rig.another();
        await rig.became(machine.name, "ready");
        assert.equal(bought(machine.name).length, 1);
        const folder = rig.folderOf(machine.name);
        assert(!readdirSync(folder).includes("errored.tfstate"));
        assert(!lstatSync(stateOf(machine.name)).isSymbolicLink());
        const runs = readdirSync(join(folder, "runs"));
        const logs = runs.filter((name) => name.endsWith(".jsonl"));
        const said = logs.map((name) => readFileSync(join(folder, "runs", name), "utf8")).join();
        assert.match(said, /no space left on device/);
        assert.match(said, /the state has been written to the file \\"errored\.tfstate\\"/);
        // That state, and not one that was made anew from the server.
        const done = rig.store.auditRows({ subject: machine.name, limit: 1_000 }).map(({ action }) => action);
        assert.deepEqual(
          done.filter((action) => action.startsWith("terraform.") && !action.endsWith(".begun")),
          ["terraform.apply"],
        );
      } finally {
        await execa("umount", ["--lazy", full]);
      }
    },
  );

  fault("T6", "a lock that a dead terraform left does not hold the next one", async () => {
    const { name } = rig.machines("ready")[0] ?? assert.fail();
    const lock = { ID: "dead", Operation: "OperationTypeApply", Who: "nobody@nowhere", Path: stateOf(name) };
    writeFileSync(join(rig.folderOf(name), ".terraform.tfstate.lock.info"), JSON.stringify(lock));
    await rig.configure({ minReady: 0 });
    await rig.became(name, "destroyed");
    await rig.configure({ minReady: 2 });
  });

  fault("T7", "a provider that crashes in the middle costs no second server", async () => {
    const machine = await held("after");
    signal(providerIn(rig.folderOf(machine.name)), "SIGKILL");
    await rig.became(machine.name, "ready", "destroyed");
    assert.equal(bought(machine.name).length, 1);
  });

  fault("T8", "four initialised at once do not disturb each other", async () => {
    const before = new Set(rig.machines("ready").map(({ name }) => name));
    await rig.configure({ minReady: before.size + 4 });
    await rig.ready(before.size + 4);
    const made = rig.machines("ready").filter(({ name }) => !before.has(name));
    assert.deepEqual(
      made.map(({ attempts, reason }) => [attempts, reason]),
      made.map(() => [0, null]),
    );
    await rig.configure({ minReady: 3 });
  });

  fault("T9", "no registry is asked for: providers come out of a folder", async () => {
    const config = readFileSync(rig.rig.operator.configFile, "utf8");
    const [, cli = ""] = /cli_config: (\S+)/.exec(config) ?? [];
    assert.doesNotMatch(readFileSync(cli, "utf8"), /direct|network_mirror|registry\.terraform\.io\/v1/);
    const [{ name }] = [rig.machines("ready")[0] ?? assert.fail()];
    const folder = join(rig.folderOf(name), ".terraform", "providers", "registry.terraform.io");
    assert.deepEqual(readdirSync(folder), ["hetznercloud"]);
  });

  fault("T10", "a person's destroy of a machine with a live order is refused", async () => {
    const served = await rig.serve("t10");
    const machine = rig.serving(served);
    await rig.rig.until("its labels are applied", async () => rig.serving(served).labelled);
    const { all, exitCode } = await rig.rig.cdktf("destroy", machine.name, "--auto-approve");
    assert.notEqual(exitCode, 0, all);
    assert.equal((await rig.hetzner(`/servers/${machine.serverId}`)).status, 200);
    await rig.rig.until("its stack is applied again", async () => rig.serving(served).labelled);
  });

  fault(
    "T10",
    "a plan that would replace a customer's machine is refused, and a person is told",
    async () => {
      // So that its labels stay due; the gate would repeat for long what may pass.
      const held = add({
        method: "PUT",
        path: "/servers/*",
        times: null,
        effect: { kind: "error", code: "protected" },
      });
      const served = await rig.serve("t10-replace");
      const { name, serverId, location } = rig.serving(served);
      await rig.rig.until("its labels are tried", async () => (rig.store.machine(name)?.attempts ?? 0) > 0);
      const told = () =>
        rig.store.flags().filter(({ kind, subject }) => kind === "stuck" && subject === name);
      const touched = () =>
        hetzner()
          .calls()
          .filter(
            ({ method, path }) =>
              (method === "POST" && path.endsWith("/servers")) ||
              (method === "DELETE" && path.includes(`/${serverId}`)),
          ).length;

      // The pool's new image is for machines that are built from now on.
      await rig.configure({ minReady: 0, image: "debian-13" });
      hetzner().faults.remove(held);
      await lookAt(name);
      await rig.rig.until("its labels are applied", async () => rig.store.machine(name)?.labelled);
      assert.deepEqual(told(), []);
      const { body } = await rig.hetzner(`/servers/${serverId}`);
      const { image, labels } = body.server as { image: { name: string }; labels: Record<string, string> };
      assert.deepEqual([image.name, labels["clawpool-order"]], ["debian-12", served.id]);

      // A row that is wrong, e.g. by a mistake of ours.
      const before = touched();
      const wrong = { location: location === "nbg1" ? "fsn1" : "nbg1", labelled: false } as const;
      rig.store.changeMachine(name, "serving", wrong, "a mistake");
      await lookAt(name);
      await rig.rig.until("a person is told", async () => told().length > 0);
      assert.match(
        told()[0]?.text ?? "",
        /the plan is refused, nothing was applied: it would delete and create/,
      );
      assert.equal((await rig.rig.shop.view(served.id)).state, "running");
      assert.equal(touched(), before);
      rig.store.changeMachine(name, "serving", { location }, "mended");
      await rig.configure({ minReady: 2, image: "debian-12" });
      await lookAt(name);
      await rig.rig.until("its labels are applied again", async () => rig.store.machine(name)?.labelled);
      assert.deepEqual(told(), []);
      assert.equal(rig.store.machine(name)?.serverId, serverId);
    },
  );

  fault("T11", "a destroy that is refused now and then is repeated until the cloud says 404", async () => {
    const served = await rig.serve("t11");
    const machine = rig.serving(served);
    const path = `/servers/${machine.serverId}`;
    for (const code of ["locked", "conflict", "unavailable", "server_error"] as const)
      add({ method: "DELETE", path, effect: { kind: "error", code } });
    add({ method: "DELETE", path, effect: { kind: "drop" } });
    await rig.cancel(served);
    await rig.became(machine.name, "destroyed");
    assert.equal((await rig.hetzner(path)).status, 404);
  });

  fault("T12", "a state that names another machine's server deletes neither", async () => {
    const [one, other] = rig.machines("ready");
    assert(one && other);
    const states = [one, other].map(({ name }) => readFileSync(stateOf(name), "utf8"));
    writeFileSync(stateOf(one.name), states[1] ?? "");
    const served = await rig.serve("t12");
    const kept = rig.serving(served);
    await rig.configure({ minReady: 0 });
    for (const { name } of [one, other]) if (name !== kept.name) await rig.became(name, "destroyed");
    assert.equal((await rig.hetzner(`/servers/${kept.serverId}`)).status, 200);
    if (kept.name === one.name) writeFileSync(stateOf(one.name), states[0] ?? "");
    await rig.configure({ minReady: 2 });
  });
});
