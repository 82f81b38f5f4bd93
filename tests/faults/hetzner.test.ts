/** H1-H9: a cloud that loses, refuses and forgets. */
import { strict as assert } from "node:assert";
import { execa } from "execa";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import type { FaultInput } from "../cloud/hetzner/faults.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";

describe("faults: Hetzner, on the local cloud", function () {
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
  const bought = (name: string) =>
    hetzner()
      .bill()
      .lines.filter((line) => line.name === name);
  const clawpool = (...args: string[]) =>
    execa(process.execPath, clawpoolArgs(rig.rig.operator.configFile, ...args), { reject: false });

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
    "with a token that is refused, payments are taken, warm machines served, and a person is told",
    async () => {
      await rig.ready(1);
      for (const path of ["/*", "/*/*", "/*/*/*", "/*/*/*/*"])
        add({ path, times: null, effect: { kind: "error", code: "unauthorized" } });
      const served = await rig.serve("h8");
      assert.equal((await rig.rig.shop.view(served.id)).state, "running");
      const told = () => rig.store.flags().filter(({ kind }) => kind === "frozen");
      await rig.rig.until("a person is told", async () => told().length > 0);
      assert.deepEqual(
        told().map(({ subject }) => subject),
        ["cloud"],
      );
      assert.match(told()[0]?.text ?? "", /Hetzner refuses our credential/);
      const headers = { authorization: `Bearer ${rig.rig.operator.apiToken}` };
      const metrics = await (await fetch(`${rig.rig.daemon.url}/metrics`, { headers })).text();
      assert(Number(/^clawpool_flags (\d+)$/m.exec(metrics)?.[1]) >= 1, metrics);
      const doctor = await clawpool("doctor");
      assert.notEqual(doctor.exitCode, 0);
      assert.match(doctor.stdout, /hetzner/i);
      hetzner().faults.clear();
      assert.equal((await clawpool("resume")).exitCode, 0);
      await rig.rig.until("it is over", async () => told().length === 0);
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
