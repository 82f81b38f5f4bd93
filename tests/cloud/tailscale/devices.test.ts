import assert from "node:assert/strict";
import type { LocalTailscale } from "./api.ts";
import { type Caller, callerOf, mintKey } from "./caller.ts";
import { simulatedRig, type TailnetRig } from "./rig.ts";

/** The fields of `fields=default` in Tailscale's API description; lastSeen only while a device is offline. */
const defaultFields = [
  "addresses",
  "authorized",
  "blocksIncomingConnections",
  "clientVersion",
  "connectedToControl",
  "created",
  "expires",
  "hostname",
  "id",
  "isEphemeral",
  "isExternal",
  "keyExpiryDisabled",
  "machineKey",
  "name",
  "nodeId",
  "nodeKey",
  "os",
  "tags",
  "tailnetLockError",
  "tailnetLockKey",
  "updateAvailable",
  "user",
];

describe("Tailscale's API: lists of devices", () => {
  let rig: TailnetRig;
  let local: LocalTailscale;
  let call: Caller;
  beforeEach(async () => {
    rig = await simulatedRig();
    local = rig.local;
    call = await callerOf(local, ["auth_keys", "devices:core"]);
  });
  afterEach(() => rig.close());

  const join = async (hostname: string, tags: string[], ephemeral = false) =>
    rig.join((await mintKey(call, { tags, ephemeral })).key, hostname);
  const list = async (query = "") => {
    const { status, body } = await call("GET", `/tailnet/-/devices${query}`);
    assert.equal(status, 200, JSON.stringify(body));
    return (body as { devices: Record<string, unknown>[] }).devices;
  };
  const hostnames = async (query: string) => (await list(query)).map(({ hostname }) => hostname);

  it("have the documented fields, and more with fields=all", async () => {
    const { nodeId, disconnect } = await join("a", ["tag:claw-vm"]);
    const [device = {}] = await list();
    assert.deepEqual(Object.keys(device).sort(), defaultFields);
    const more = Object.keys((await list("?fields=all"))[0] ?? {}).filter(
      (name) => !defaultFields.includes(name),
    );
    assert.deepEqual(more.sort(), ["advertisedRoutes", "enabledRoutes", "sshEnabled"]);
    assert.deepEqual((await call("GET", `/device/${nodeId}`)).body, device);
    assert.deepEqual((await call("GET", `/device/${String(device.id)}`)).body, device, "by the old id");
    await disconnect();
    const [silent = {}] = await list();
    assert.deepEqual(Object.keys(silent).sort(), [...defaultFields, "lastSeen"].sort());
    assert.equal(silent.connectedToControl, false);
  });

  it("filter by exact match; several filters and several values must all hold", async () => {
    await join("a", ["tag:claw-vm"]);
    await join("b", ["tag:claw-vm", "tag:claw-pool"], true);
    await join("c", ["tag:claw-pool"]);
    assert.deepEqual(await hostnames("?tags=tag:claw-vm"), ["a", "b"]);
    assert.deepEqual(await hostnames("?tags=tag:claw-vm&tags=tag:claw-pool"), ["b"]);
    assert.deepEqual(await hostnames("?tags=tag:claw"), []);
    assert.deepEqual(await hostnames("?hostname=c"), ["c"]);
    assert.deepEqual(await hostnames("?isEphemeral=true&tags=tag:claw-pool"), ["b"]);
    assert.deepEqual(await hostnames("?connectedToControl=true&authorized=true&os=linux"), ["a", "b", "c"]);
    assert.deepEqual(await hostnames("?fields=all&enabledRoutes=10.0.0.0/8"), []);
  });

  it("refuse filters on what is no simple field, and unknown sets of fields", async () => {
    for (const query of ["clientConnectivity=x", "distro=debian", "tag=tag:claw-vm", "fields=some"]) {
      const { status, body } = await call("GET", `/tailnet/-/devices?${query}`);
      assert.equal(status, 400);
      assert.deepEqual(Object.keys(body as object), ["message"]);
    }
  });

  it("know the tailnet by its id and by a dash, and no other", async () => {
    await join("a", ["tag:claw-vm"]);
    assert.equal(
      ((await call("GET", "/tailnet/Tclawpool1CNTRL/devices")).body as { devices: [] }).devices.length,
      1,
    );
    const other = await call("GET", "/tailnet/Tother1CNTRL/devices");
    assert.deepEqual([other.status, other.body], [404, { message: "tailnet not found" }]);
  });
});
