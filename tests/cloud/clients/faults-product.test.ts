/** What the daemon's own clients make of faults: its look at the cloud, and its SSH to machines that are not right. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBudget } from "../../../pool/cloud/budget.ts";
import type { Cloud } from "../../../pool/cloud/cloud.ts";
import { createCloud } from "../../../pool/cloud/hetzner.ts";
import { BorderError } from "../../../pool/errors.ts";
import { userData } from "../../../pool/machine/user-data.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import { generateKeyPair } from "../../../pool/ssh/keys.ts";
import { createSsh } from "../../../pool/ssh/ssh2.ts";
import { fastClock } from "../../virtual-clock.ts";
import type { FaultInput } from "../hetzner/faults.ts";
import { type Hetzner, startHetzner } from "../hetzner/hetzner.ts";
import type { Body } from "../hetzner/views.ts";
import { createProcessBackend, type ProcessBackend } from "../machines/process/backend.ts";
import { type ClientRig, startClientRig } from "./rig.ts";

async function order(hetzner: Hetzner, name: string, other: Record<string, unknown> = {}): Promise<Body> {
  const body = JSON.stringify({
    name,
    server_type: "cx23",
    image: "debian-12",
    labels: { a: "b" },
    ...other,
  });
  const headers = { Authorization: `Bearer ${hetzner.token}` };
  return (await (
    await fetch(`${hetzner.endpoint}/servers`, { method: "POST", headers, body })
  ).json()) as Body;
}

describe("Hetzner emulator: faults as the daemon's client sees them", () => {
  let rig: ClientRig;
  beforeEach(async () => {
    rig = await startClientRig();
    for (const name of ["m-1", "m-2"]) await order(rig.hetzner, name);
  });
  afterEach(() => rig.close());

  /** @param deadlineMs how long it repeats what may pass */
  function client(deadlineMs = 30_000, token = rig.hetzner.token): Cloud {
    const clock = fastClock(100);
    const budget = createBudget({ requestsPerHour: 3_600, clock });
    return createCloud({
      endpoint: rig.hetzner.endpoint,
      token: new Secret(token),
      budget,
      clock,
      deadlineMs,
    });
  }
  const failure = (kind: string, code: string) => (error: unknown) => {
    assert.ok(error instanceof BorderError);
    assert.deepEqual([error.kind, error.code], [kind, code]);
    return true;
  };
  const list: Pick<FaultInput, "method" | "path"> = { method: "GET", path: "/servers" };
  const names = async (cloud: Cloud) => (await cloud.servers("a==b")).map(({ name }) => name);

  it("a list that is short or empty looks whole to it", async () => {
    for (const keep of [1, 0]) {
      rig.hetzner.faults.add({ ...list, effect: { kind: "short_list", keep } });
      assert.deepEqual(await names(client()), ["m-1", "m-2"].slice(0, keep));
    }
    assert.deepEqual(await names(client()), ["m-1", "m-2"]);
  });

  it("repeats cut connections, 429 and 5xx, with JSON and bare", async () => {
    const get = { ...list, times: 1 };
    for (const effect of [
      { kind: "drop" },
      { kind: "drop", when: "after" },
      { kind: "error", code: "rate_limit_exceeded" },
      { kind: "error", code: "rate_limit_exceeded", bare: true },
      { kind: "error", code: "server_error" },
      { kind: "error", code: "unavailable", bare: true },
    ] as const) {
      rig.hetzner.faults.add({ ...get, effect });
    }
    assert.deepEqual(await names(client(3_600_000)), ["m-1", "m-2"]);
    assert.equal(rig.hetzner.faults.log().length, 6);
  });

  it("gives up on an answer that does not come", async () => {
    rig.hetzner.faults.add({ ...list, times: null, effect: { kind: "delay", ms: 3_600_000 } });
    await assert.rejects(names(client(15_000)), failure("transient", "no_answer"));
  });

  it("tells a refused token from a fault that passes", async () => {
    await assert.rejects(names(client(30_000, "0".repeat(64))), failure("auth", "unauthorized"));
    rig.hetzner.faults.add({ ...list, effect: { kind: "error", code: "forbidden" } });
    await assert.rejects(names(client()), failure("auth", "forbidden"));
    rig.hetzner.faults.add({ ...list, effect: { kind: "error", code: "maintenance" } });
    await assert.rejects(names(client()), failure("transient", "maintenance"));
  });

  it("sees what is sold out, unless the catalogue hides it, and a server that vanished", async () => {
    const [server] = await client().servers("a==b");
    const where = async () => (await client().serverTypes()).find(({ name }) => name === "cx23")?.availableIn;
    const stock = { server: { type: "cx23", location: "hel1" } };
    rig.hetzner.faults.add({ ...stock, effect: { kind: "stock_out", hidden: true } });
    assert.deepEqual(await where(), ["fsn1", "nbg1", "hel1"]);
    rig.hetzner.faults.add({ ...stock, effect: { kind: "stock_out" } });
    assert.deepEqual(await where(), ["fsn1", "nbg1"]);
    rig.hetzner.faults.add({ method: "GET", path: "/servers/*", effect: { kind: "vanish" } });
    assert.equal(await client().server(server?.id ?? 0), null);
    assert.equal(await client().serverByName("m-1"), null);
  });
});

describe("Hetzner emulator: machines with a fault as the daemon's SSH sees them", () => {
  const sshPort = 22_522;
  const [boot, controller] = [generateKeyPair(), generateKeyPair()];
  const user = userData({
    bootHostKey: boot.privateKey.expose(),
    bootHostPublicKey: boot.publicKey,
    controllerPublicKey: controller.publicKey,
  });
  let dir: string;
  let backend: ProcessBackend;
  let hetzner: Hetzner;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "clawpool-faults-"));
    backend = createProcessBackend({ stateDir: join(dir, "machines"), sshPort });
    await backend.start();
    hetzner = await startHetzner({ stateDir: join(dir, "hetzner"), backend, speed: 10_000 });
  });
  after(async () => {
    await hetzner?.close();
    await backend?.stop();
    await rm(dir, { recursive: true });
  });
  afterEach(() => hetzner.faults.clear());

  /** @returns its address, once Hetzner says that it runs. */
  async function running(name: string): Promise<{ id: number; address: string }> {
    const { server, next_actions } = await order(hetzner, name, { user_data: user });
    await until(next_actions[0]?.id ?? 0);
    return { id: server.id, address: server.public_net.ipv4?.ip ?? "" };
  }
  async function until(action: number): Promise<void> {
    const headers = { Authorization: `Bearer ${hetzner.token}` };
    for (;;) {
      const answer = (await (
        await fetch(`${hetzner.endpoint}/actions/${action}`, { headers })
      ).json()) as Body;
      if (answer.action.status !== "running") return assert.equal(answer.action.error, null);
    }
  }
  async function remove(id: number): Promise<void> {
    const headers = { Authorization: `Bearer ${hetzner.token}` };
    const answer = await fetch(`${hetzner.endpoint}/servers/${id}`, { method: "DELETE", headers });
    await until(((await answer.json()) as Body).action.id);
  }
  async function connect(host: string): Promise<string> {
    const target = { host, port: sshPort, username: "clawpool", privateKey: controller.privateKey };
    try {
      const connection = await createSsh().connect(
        { ...target, hostKey: boot.publicKey },
        { timeoutMs: 2_000 },
      );
      connection.close();
      return "connected";
    } catch (error) {
      assert.ok(error instanceof BorderError);
      return error.code ?? "";
    }
  }

  it("nothing answers at one that never boots, and at one without network", async () => {
    for (const fault of ["never-boots", "no-network"] as const) {
      hetzner.faults.add({ server: { name: "m-*" }, effect: { kind: "machine", fault } });
      const { id, address } = await running(`m-${fault}`);
      assert.equal(await connect(address), "ECONNREFUSED");
      await remove(id);
    }
  });

  it("another host key than the pinned one is refused", async () => {
    hetzner.faults.add({ effect: { kind: "machine", fault: "other-host-key" } });
    const { id, address } = await running("m-other");
    assert.equal(await connect(address), "host-key");
    await remove(id);
  });

  it("at an address that was given away again another machine answers", async () => {
    hetzner.faults.add({ times: null, effect: { kind: "machine", fault: "reused-address" } });
    const first = await running("m-first");
    assert.equal(await connect(first.address), "connected");
    await remove(first.id);
    hetzner.faults.add({ effect: { kind: "machine", fault: "other-host-key" } });
    const second = await running("m-second");
    assert.equal(second.address, first.address);
    assert.equal(await connect(first.address), "host-key");
    await remove(second.id);
  });

  it("one whose host is lost is off, and cannot be switched on", async () => {
    const { id, address } = await running("m-lost");
    hetzner.faults.add({ method: "GET", path: "/servers/*", effect: { kind: "vanish", what: "machine" } });
    const headers = { Authorization: `Bearer ${hetzner.token}` };
    const server = (await (await fetch(`${hetzner.endpoint}/servers/${id}`, { headers })).json()) as Body;
    assert.equal(server.server.status, "off");
    assert.equal(await connect(address), "ECONNREFUSED");
    await remove(id);
  });
});
