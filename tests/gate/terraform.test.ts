/** The faults once more, with terraform and the provider instead of a client that acts like them. */
import { strict as assert } from "node:assert";
import type { FaultInput } from "../cloud/hetzner/faults.ts";
import { fastClock } from "../virtual-clock.ts";
import { permit } from "./rig.ts";
import { startTerraformRig, type TerraformRig } from "./terraform-rig.ts";

/** The gate's clock; its time-outs are made long enough not to strike by that. */
const factor = 10;

describe("terraform through the gate", function () {
  // The first run on a machine compiles the stand-in provider.
  this.timeout(300_000);
  let rig: TerraformRig;
  let count = 0;
  before(async () => {
    rig = await startTerraformRig({
      profile: "fast",
      clock: fastClock(factor),
      timing: {
        deadlineMs: 90_000 * factor,
        readTimeoutMs: 10_000 * factor,
        writeTimeoutMs: 30_000 * factor,
        closeMs: 10_000 * factor,
      },
    });
  });
  after(() => rig.close());
  afterEach(() => rig.hetzner.faults.clear());

  function newMachine(): string {
    const name = `claw-t${++count}`;
    rig.ledger.rows.set(name, { state: "creating", serverId: null, order: null, mayDestroy: false });
    return name;
  }

  async function serversNamed(name: string): Promise<number[]> {
    const response = await fetch(`${rig.hetzner.endpoint}/servers?name=${name}`, {
      headers: { authorization: `Bearer ${rig.hetzner.token}` },
    });
    const { servers } = (await response.json()) as { servers: { id: number }[] };
    return servers.map((server) => server.id);
  }

  function strike(fault: FaultInput): () => void {
    const id = rig.hetzner.faults.add(fault);
    return () => {
      const hits = rig.hetzner.faults.list().find((each) => each.id === id)?.hits;
      assert.equal(hits, fault.times ?? 1, "the fault struck");
    };
  }

  const post = { method: "POST", path: "/servers" } as const;
  const error = (status: number, code: string) => ({ status, error: { code, message: code } });
  const faults: { title: string; fault: FaultInput; bare: "orphan" | "tainted" | null }[] = [
    {
      title: "POST dropped after commit",
      fault: { ...post, effect: { kind: "drop", when: "after" } },
      bare: "orphan",
    },
    {
      title: "504 after commit",
      fault: { ...post, effect: { kind: "answer", when: "after", status: 504 } },
      bare: "orphan",
    },
    { title: "POST dropped before commit", fault: { ...post, effect: { kind: "drop" } }, bare: null },
    {
      title: "three 429 on POST",
      fault: { ...post, times: 3, effect: { kind: "answer", ...error(429, "rate_limit_exceeded") } },
      bare: null,
    },
    {
      title: "503 on a poll",
      fault: {
        method: "GET",
        path: "/actions",
        effect: { kind: "answer", ...error(503, "unavailable") },
      },
      bare: "tainted",
    },
    {
      title: "500 on the final GET",
      fault: { method: "GET", path: "/servers/*", effect: { kind: "answer", ...error(500, "server_error") } },
      bare: "tainted",
    },
  ];

  for (const { title, fault, bare } of faults) {
    if (bare) {
      it(`${title}: without the gate an error and a server that is ${bare}`, async () => {
        const name = newMachine();
        const struck = strike(fault);
        const result = await rig.terraform.applyMachine(rig.stack(name), rig.bare);
        struck();
        assert.equal(result.ok, false);
        const state = await rig.terraform.state(name);
        const servers = await serversNamed(name);
        assert.equal(servers.length, 1);
        if (bare === "orphan") assert.equal(state?.serverId ?? null, null);
        else assert.deepEqual([state?.serverId, state?.tainted], [servers[0], true]);
      });
    }

    it(`${title}: through the gate one healthy server, in cloud, state and ledger`, async () => {
      const name = newMachine();
      const struck = strike(fault);
      const run = rig.gate.openRun(permit(name, { destroy: false }));
      const result = await rig.terraform.applyMachine(rig.stack(name), run);
      struck();
      assert.deepEqual(result.errors, []);
      const state = await rig.terraform.state(name);
      assert.ok(state);
      assert.equal(state.tainted, false);
      assert.deepEqual(await serversNamed(name), [state.serverId]);
      assert.equal(rig.ledger.rows.get(name)?.serverId, state.serverId);
    });
  }

  it("labels a live machine, refuses to destroy it, and destroys it when its row says so", async () => {
    const name = newMachine();
    const run = rig.gate.openRun(permit(name));
    assert.deepEqual((await rig.terraform.applyMachine(rig.stack(name), run)).errors, []);
    const id = rig.ledger.rows.get(name)?.serverId ?? null;
    rig.ledger.rows.set(name, { state: "serving", serverId: id, order: "order", mayDestroy: false });

    const labelled = await rig.terraform.applyMachine(rig.stack(name, { order: "o-1" }), run, {
      guard: id ?? 0,
    });
    assert.deepEqual(labelled.errors, []);

    const refused = await rig.terraform.destroyMachine(name, run);
    assert.equal(refused.ok, false);
    assert.match(refused.errors[0]?.summary ?? "", /the order of this machine is live \(protected/);
    assert.deepEqual(await serversNamed(name), [id]);
    assert.ok(rig.ledger.refusals.includes(`DELETE /servers/${id}: the order of this machine is live`));

    rig.ledger.rows.set(name, { state: "releasing", serverId: id, order: "order", mayDestroy: true });
    assert.deepEqual((await rig.terraform.destroyMachine(name, run)).errors, []);
    assert.deepEqual(await serversNamed(name), []);
    assert.equal((await rig.terraform.state(name))?.serverId ?? null, null);
  });

  it("a run that is closed in the middle of a create ends by itself; the ledger knows the id", async () => {
    const name = newMachine();
    const run = rig.gate.openRun(permit(name));
    const record = rig.ledger.recordServerId;
    rig.ledger.recordServerId = (machine, id) => {
      record(machine, id);
      run.close();
    };
    const result = await rig.terraform.applyMachine(rig.stack(name), run);
    rig.ledger.recordServerId = record;
    assert.equal(result.ok, false);
    assert.match(result.errors[0]?.summary ?? "", /the token you have provided is invalid/);
    const state = await rig.terraform.state(name);
    assert.deepEqual([state?.serverId, state?.tainted], [rig.ledger.rows.get(name)?.serverId, true]);
  });
});

describe("terraform when the daemon dies", function () {
  this.timeout(300_000);

  it("ends by itself with an error, with one server that state and ledger know", async () => {
    // At a realistic pace the create takes 16 s, so the gate is gone long before it could end well.
    const rig = await startTerraformRig({ profile: "realistic" });
    try {
      rig.ledger.rows.set("claw-d", { state: "creating", serverId: null, order: null, mayDestroy: false });
      const recorded = new Promise<number>((resolve) => {
        const record = rig.ledger.recordServerId;
        rig.ledger.recordServerId = (machine, id) => {
          record(machine, id);
          resolve(id);
        };
      });
      const run = rig.gate.openRun(permit("claw-d"));
      const applying = rig.terraform.applyMachine(rig.stack("claw-d"), run);
      const id = await recorded;
      await rig.gate.close();
      const result = await applying;
      assert.equal(result.ok, false);
      const state = await rig.terraform.state("claw-d");
      assert.deepEqual([state?.serverId, state?.tainted], [id, true]);
      assert.equal(rig.ledger.rows.get("claw-d")?.serverId, id);
    } finally {
      await rig.close();
    }
  });
});
