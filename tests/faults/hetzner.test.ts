/** T1-T12, H1-H9: terraform that is killed, states that lie, a cloud that loses, refuses and forgets. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { Machine, MachineName } from "../../pool/machine/machine.ts";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import type { FaultInput } from "../cloud/hetzner/faults.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";

const lookEveryMs = 20;

describe("faults: terraform and Hetzner, on the local cloud", function () {
  this.timeout(300_000);
  let rig: FaultRig & { stop(): Promise<void> };

  before(async () => {
    rig = await startFaultRig({ minReady: 2, maxTotal: 24, failurePause: "1s" });
    await rig.ready(2);
  });
  after(() => rig?.stop());

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

  /** Processes that work in the machine's folder: terraform, and the provider that it started. */
  function processesIn(name: MachineName, program: string): number[] {
    return readdirSync("/proc").flatMap((pid) => {
      try {
        if (!/^\d+$/.test(pid) || readlinkSync(`/proc/${pid}/cwd`) !== rig.folderOf(name)) return [];
        const [command = ""] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return command.includes(program) ? [Number(pid)] : [];
      } catch {
        return [];
      }
    });
  }
  const providerIn = (name: MachineName) => processesIn(name, "terraform-provider-hcloud");
  function terraformIn(name: MachineName): number[] {
    const providers = providerIn(name);
    return processesIn(name, "terraform").filter((pid) => !providers.includes(pid));
  }
  function signal(pids: readonly number[], wanted: NodeJS.Signals): void {
    assert(pids.length > 0, "nothing of terraform's works there");
    for (const pid of pids) process.kill(pid, wanted);
  }
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

  fault("T1", "terraform killed before or after its order: one server, and it is used or goes", async () => {
    for (const when of ["before", "after"] as const) {
      const machine = await held(when);
      signal(terraformIn(machine.name), "SIGKILL");
      await rig.became(machine.name, "ready", "destroyed");
      assert.equal(bought(machine.name).length, 1, when);
    }
  });

  fault("T2", "a daemon killed over terraform waits for that one and buys nothing twice", async () => {
    const machine = await held("after");
    const orphans = terraformIn(machine.name);
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
      const pids = terraformIn(machine.name);
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

  fault("T5", "a state that terraform could only leave beside its own is put in its place", async () => {
    const { name } = rig.machines("ready")[0] ?? assert.fail();
    const state = readState(name);
    writeFileSync(
      join(rig.folderOf(name), "errored.tfstate"),
      JSON.stringify({ ...state, serial: state.serial + 1 }),
    );
    const { stdout } = await clawpool("state", "--json");
    const reports = JSON.parse(stdout) as { machine: string; refused: string | null }[];
    assert.equal(reports.find(({ machine }) => machine === name)?.refused, null, stdout);
    assert.equal(readState(name).serial, state.serial + 1);
    assert(!readdirSync(rig.folderOf(name)).includes("errored.tfstate"));
  });

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
    signal(providerIn(machine.name), "SIGKILL");
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

  fault(
    "T10",
    "whatever a plan or a person wants, a machine with a live order is not destroyed",
    async () => {
      const served = await rig.serve("t10");
      const machine = rig.serving(served);
      await rig.rig.until("its labels are applied", async () => rig.serving(served).labelled);
      const { all, exitCode } = await rig.rig.cdktf("destroy", machine.name, "--auto-approve");
      assert.notEqual(exitCode, 0, all);
      assert.equal((await rig.hetzner(`/servers/${machine.serverId}`)).status, 200);
      await rig.rig.until("its stack is applied again", async () => rig.serving(served).labelled);
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

  fault("H1", "a rate limit slows builds down and costs none", async () => {
    add({
      path: "/servers",
      method: "POST",
      times: 2,
      effect: { kind: "error", code: "rate_limit_exceeded" },
    });
    add({ path: "/actions", times: 3, effect: { kind: "error", code: "rate_limit_exceeded" } });
    const machine = await rig.another();
    await rig.became(machine.name, "ready");
    assert.equal(bought(machine.name).length, 1);
  });

  fault(
    "H2",
    "a location without stock is left for the next, and a refusal is told and tried again",
    async () => {
      const first = add({ server: { location: "fsn1" }, times: 1, effect: { kind: "stock_out" } });
      const machine = await rig.another();
      const { location } = await rig.became(machine.name, "ready");
      assert.equal(
        hetzner()
          .faults.list()
          .find(({ id }) => id === first)?.hits,
        1,
      );
      assert.notEqual(location, "fsn1");
      add({ path: "/servers", method: "POST", effect: { kind: "error", code: "resource_limit_exceeded" } });
      const refused = await rig.another();
      const { reason } = await rig.became(refused.name, "destroyed");
      assert.match(reason ?? "", /limit/);
      // Nothing more is tried before somebody looked, or some time went by.
      assert(rig.store.frozen().some(({ border }) => border === "cloud"));
      assert.equal((await clawpool("resume")).exitCode, 0);
    },
  );

  fault("H3", "an order whose answer is lost is found by its name and used", async () => {
    add({ method: "POST", path: "/servers", effect: { kind: "drop", when: "after" } });
    const machine = await rig.another();
    await rig.became(machine.name, "ready");
    assert.equal(bought(machine.name).length, 1);
    const told = rig.store.auditRows({ subject: machine.name, limit: 1_000 });
    assert(told.some(({ action }) => action === "gate.repaired"));
  });

  fault("H4", "a server whose making ends in an error is replaced", async () => {
    await rig.configure({ creatingDeadline: "15s" });
    add({ command: "create_server", effect: { kind: "action_fails" } });
    const machine = await rig.another();
    const { reason } = await rig.became(machine.name, "destroyed");
    assert.match(reason ?? "", /deadline/);
    await rig.configure({ creatingDeadline: "10m" });
  });

  fault(
    "H8",
    "with a token that is refused, payments are still taken and warm machines still served",
    async () => {
      await rig.ready(1);
      const all = { times: null, effect: { kind: "error", code: "unauthorized" } } as const;
      for (const path of ["/servers", "/servers/*", "/actions", "/ssh_keys", "/firewalls", "/networks"])
        add({ path, ...all });
      const served = await rig.serve("h8");
      assert.equal((await rig.rig.shop.view(served.id)).state, "running");
      hetzner().faults.clear();
      assert.equal((await clawpool("resume")).exitCode, 0);
    },
  );

  fault("H7", "servers of others, also of another installation, are seen and left alone", async () => {
    const { body } = await rig.hetzner("/servers?per_page=50");
    const known = new Set(rig.store.machines().map(({ serverId }) => serverId));
    const strangers = (body.servers as { id: number; name: string }[]).filter(({ id }) => !known.has(id));
    assert.deepEqual(strangers.map(({ name }) => name).sort(), ["claw-other-aaaaaaaaaa", "somebody-elses"]);
    const touched = hetzner()
      .calls()
      .filter(({ method, path }) => method !== "GET" && strangers.some(({ id }) => path.includes(`/${id}`)));
    assert.deepEqual(touched, []);
  });

  fault("H9", "an address that comes back with another host key is a new machine", async () => {
    // Not spent by the makings: what is given away again is whichever addresses became free last.
    add({ times: null, effect: { kind: "machine", fault: "reused-address" } });
    const old = rig.machines("ready");
    assert(old.length > 0);
    await rig.configure({ minReady: 0 });
    for (const { name } of old) await rig.became(name, "destroyed");
    await rig.configure({ minReady: 2 });
    await rig.ready(2);
    const heirs = rig.machines("ready").flatMap((machine) => {
      const before = old.find(({ ipv4 }) => ipv4 === machine.ipv4);
      return before ? [{ machine, before }] : [];
    });
    assert(heirs.length > 0, `nobody got ${old.map(({ ipv4 }) => ipv4).join(" or ")} again`);
    for (const { machine, before } of heirs) {
      assert.notEqual(machine.name, before.name);
      assert.notEqual(machine.hostKey, before.hostKey);
    }
  });
});
