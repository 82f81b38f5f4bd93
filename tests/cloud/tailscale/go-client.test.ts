/** Tailscale's own Go client of the API, unmodified, against the API in front of a simulated tailnet. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { ensureGoClient } from "./build.ts";
import { endProcess } from "./control.ts";
import { type Receiver, startReceiver } from "./receiver.ts";
import { type JoinedNode, simulatedRig, type TailnetRig } from "./rig.ts";

interface Reply {
  readonly result?: unknown;
  readonly error?: string;
  readonly status?: number;
}

/** Go's zero time, for fields that the API leaves out. */
const never = "0001-01-01T00:00:00Z";
const forbidden = {
  error: "calling actor does not have enough permissions to perform this function",
  status: 403,
};

describe("Tailscale's API: its own Go client", function () {
  this.timeout(60_000);
  let program: string;
  let rig: TailnetRig;
  let child: ChildProcess;
  let lines: AsyncIterator<string>;
  let node: JoinedNode;

  before(async function () {
    this.timeout(300_000);
    program = await ensureGoClient();
  });
  beforeEach(async () => {
    rig = await simulatedRig();
    const { id, secret } = rig.local.oauth.createClient({ scopes: ["all"], tags: ["tag:claw-ctl"] });
    await start(id, secret);
  });
  afterEach(async () => {
    await endProcess(child);
    await rig.close();
  });

  const start = async (id: string, secret: string) => {
    child = spawn(program, {
      stdio: ["pipe", "pipe", "inherit"],
      env: {
        TAILSCALE_URL: new URL(rig.local.apiUrl).origin,
        TAILSCALE_CLIENT_ID: id,
        TAILSCALE_CLIENT_SECRET: secret,
      },
    });
    await once(child, "spawn");
    if (!child.stdout) throw new Error("no standard output");
    lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  };
  const ask = async (op: string, args: object = {}): Promise<Reply> => {
    child.stdin?.write(`${JSON.stringify({ op, args })}\n`);
    return JSON.parse((await lines.next()).value) as Reply;
  };
  const call = async <T>(op: string, args: object = {}): Promise<T> => {
    const { result, error } = await ask(op, args);
    assert.equal(error, undefined, op);
    return result as T;
  };
  const create = { reusable: false, ephemeral: false, preauthorized: true, tags: ["tag:claw-vm"] };
  const key = { capabilities: { devices: { create } }, expirySeconds: 600, description: "order 8f3c" };
  interface Key {
    readonly id: string;
    readonly key: string;
  }

  it("mints, reads, lists and deletes auth keys", async () => {
    const made = await call<Key & Record<string, unknown>>("keys.create", { key });
    assert.match(made.key, new RegExp(`^tskey-auth-${made.id}-`));
    const read = await call<Record<string, unknown>>("keys.get", { id: made.id });
    assert.deepEqual(
      [read.keyType, read.description, read.expirySeconds, read.invalid, read.revoked, read.capabilities],
      ["auth", "order 8f3c", 600, false, never, { devices: { create } }],
    );
    assert.deepEqual(read, { ...made, key: "" });
    const ids = async (all: boolean) => (await call<Key[]>("keys.list", { all })).map(({ id }) => id);
    assert.ok((await ids(true)).includes(made.id));
    assert.ok(!(await ids(false)).includes(made.id), "without all only OAuth clients");
    await call("keys.delete", { id: made.id });
    assert.ok(!(await ids(true)).includes(made.id));
    assert.equal((await call<{ invalid: boolean }>("keys.get", { id: made.id })).invalid, true);
    assert.deepEqual(await ask("keys.get", { id: "k1CNTRL" }), { error: "key not found", status: 404 });
    const tags = { capabilities: { devices: { create: { ...create, tags: ["tag:other"] } } } };
    assert.deepEqual(await ask("keys.create", { key: tags }), {
      error: "requested tags [tag:other] are invalid or not permitted",
      status: 400,
    });
  });

  it("makes, changes and deletes OAuth clients", async () => {
    const wanted = { scopes: ["devices:core:read"], name: "reader" };
    const made = await call<Key & { scopes: string[] }>("keys.create-client", wanted);
    assert.deepEqual(made.scopes, wanted.scopes);
    const change = { id: made.id, scopes: ["auth_keys"], tags: ["tag:claw-vm"], name: "minter" };
    await call("keys.set-client", change);
    const read = await call<{ scopes: string[]; tags: string[]; keyType: string }>("keys.get", {
      id: made.id,
    });
    assert.deepEqual([read.keyType, read.scopes, read.tags], ["client", ["auth_keys"], ["tag:claw-vm"]]);
    await call("keys.delete", { id: made.id });
    assert.equal((await ask("keys.get", { id: made.id })).status, 404);
  });

  describe("with a device", () => {
    beforeEach(async () => {
      node = await rig.join((await call<Key>("keys.create", { key })).key, "m12");
    });
    interface Device {
      readonly nodeId: string;
      readonly id: string;
      readonly name: string;
      readonly tags: string[];
      readonly addresses: string[];
      readonly authorized: boolean;
      readonly keyExpiryDisabled: boolean;
      readonly connectedToControl: boolean;
      readonly lastSeen: string | null;
    }
    const get = (id = node.nodeId) => call<Device>("devices.get", { id });

    it("lists and filters it, and gets it by either id", async () => {
      const [device] = await call<Device[]>("devices.list");
      assert.ok(device);
      assert.deepEqual(
        [device.name, device.connectedToControl, device.lastSeen],
        ["m12.clawpool.ts.net", true, null],
      );
      assert.deepEqual(await get(), device);
      assert.deepEqual(await get(device.id), device);
      const filters = { tags: ["tag:claw-vm"], hostname: ["m12"], isEphemeral: ["false"] };
      assert.equal((await call<Device[]>("devices.list", { filters, all: true })).length, 1);
      assert.deepEqual(await call<Device[]>("devices.list", { filters: { hostname: ["m13"] } }), []);
      await node.disconnect();
      assert.notEqual((await get()).lastSeen, null);
    });

    it("changes its name, tags, address, key, approval and routes", async () => {
      const { nodeId: id } = node;
      await call("devices.name", { id, name: "m13" });
      await call("devices.tags", { id, tags: ["tag:claw-pool"] });
      await call("devices.ip", { id, ipv4: "100.80.0.1" });
      await call("devices.key", { id, on: false });
      await call("devices.authorize", { id, on: false });
      const { name, tags, addresses, keyExpiryDisabled, authorized } = await get();
      assert.deepEqual(
        [name, tags, addresses[0], keyExpiryDisabled, authorized],
        ["m13.clawpool.ts.net", ["tag:claw-pool"], "100.80.0.1", false, false],
      );
      await node.advertiseRoutes(["10.0.0.0/16"]);
      await call("devices.enable-routes", { id, routes: ["10.0.0.0/16", "10.1.0.0/16"] });
      assert.deepEqual(await call("devices.routes", { id }), {
        advertisedRoutes: ["10.0.0.0/16"],
        enabledRoutes: ["10.0.0.0/16", "10.1.0.0/16"],
      });
    });

    it("deletes it, and finds it gone", async () => {
      await call("devices.delete", { id: node.nodeId });
      assert.equal((await ask("devices.get", { id: node.nodeId })).status, 404);
      assert.equal((await ask("devices.delete", { id: node.nodeId })).status, 404);
    });
  });

  it("makes, changes, tests, rotates and deletes webhooks", async () => {
    const receiver: Receiver = await startReceiver();
    try {
      const webhook = { endpointUrl: receiver.url, providerType: "", subscriptions: ["nodeCreated"] };
      interface Webhook {
        readonly endpointId: string;
        readonly secret?: string;
        readonly subscriptions: string[];
      }
      const made = await call<Webhook>("webhooks.create", { webhook });
      receiver.secret = String(made.secret);
      const { endpointId: id } = made;
      const { secret: _, ...shown } = made;
      assert.deepEqual(await call("webhooks.get", { id }), shown);
      assert.deepEqual(await call("webhooks.list"), [shown]);
      await call("webhooks.test", { id });
      await receiver.waitFor("test");
      const subscriptions = ["nodeDeleted", "nodeKeyExpired"];
      const changed = await call<Webhook>("webhooks.update", { id, subscriptions });
      assert.deepEqual(changed.subscriptions, subscriptions);
      assert.notEqual((await call<Webhook>("webhooks.rotate", { id })).secret, made.secret);
      await call("webhooks.delete", { id });
      assert.equal((await ask("webhooks.get", { id })).status, 404);
    } finally {
      await receiver.close();
    }
  });

  it("sees errors as Tailscale's: a missing scope, a limit, a failure, a cut connection", async () => {
    await endProcess(child);
    await start(rig.local.clientId, rig.local.clientSecret);
    assert.deepEqual(await ask("webhooks.list"), forbidden);
    const path = "/tailnet/*/devices";
    for (const status of [429, 500, 504]) {
      await rig.local.faults.add({ path, effect: { kind: "answer", status, message: "not now" } });
      assert.deepEqual(await ask("devices.list"), { error: "not now", status });
    }
    // Go's transport asks once again by itself when a kept connection is cut under a GET.
    await rig.local.faults.add({ path, effect: { kind: "drop" }, times: 2 });
    assert.match(String((await ask("devices.list")).error), /EOF|reset/);
    assert.deepEqual(await call("devices.list"), []);
  });
});
