/**
 * What the API does to a tailnet and the machines in it, by Tailscale's API description. Run on the simulated tailnet
 * and on the real control server with real tailscaled nodes.
 */
import assert from "node:assert/strict";
import { type Caller, callerOf, type MintedKey, mintKey } from "./caller.ts";
import type { TailnetSettings } from "./control.ts";
import { startReceiver } from "./receiver.ts";
import type { JoinedNode, TailnetRig } from "./rig.ts";

const dayMs = 86_400_000;

interface Device {
  readonly nodeId: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly authorized: boolean;
  readonly connectedToControl: boolean;
  readonly keyExpiryDisabled: boolean;
  readonly expires: string;
  readonly tags: readonly string[];
}

export function apiContract(
  name: string,
  makeRig: (settings?: TailnetSettings) => Promise<TailnetRig>,
): void {
  describe(`Tailscale's API: ${name}`, () => {
    let rig: TailnetRig;
    let api: Caller;
    beforeEach(async () => {
      rig = await makeRig();
      api = await callerOf(rig.local, ["auth_keys", "devices:core", "devices:routes", "webhooks"]);
    });
    afterEach(() => rig.close());

    const mint = (create: object = {}, expirySeconds = 600) => mintKey(api, create, expirySeconds);
    const join = async (hostname: string, create: object = {}): Promise<JoinedNode> =>
      rig.join((await mint(create)).key, hostname);
    const device = async (nodeId: string) => (await api("GET", `/device/${nodeId}`)).body as Device;
    const change = async (nodeId: string, path: string, body?: object) => {
      const answer = await api("POST", `/device/${nodeId}/${path}`, body);
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
    };
    const refused = async (nodeId: string, path: string, body: object, message: RegExp) => {
      const answer = await api("POST", `/device/${nodeId}/${path}`, body);
      assert.equal(answer.status, 400);
      assert.match((answer.body as { message: string }).message, message);
    };
    /** The clock goes forward, and the hour of the caller's token with it. */
    const later = async (ms: number) => {
      await rig.local.advance(ms);
      api = await callerOf(rig.local, ["auth_keys", "devices:core"]);
    };

    describe("keys", () => {
      const shown = async ({ id }: MintedKey) => {
        const { invalid = false, revoked } = (await api("GET", `/tailnet/-/keys/${id}`)).body as {
          invalid?: boolean;
          revoked?: string;
        };
        return { invalid, revoked: revoked !== undefined };
      };
      const listed = async () => {
        const { keys } = (await api("GET", "/tailnet/-/keys?all=true")).body as { keys: MintedKey[] };
        return keys.map(({ id }) => id);
      };

      it("let many in when they are reusable, and one when they are not", async () => {
        const [many, once] = [await mint({ reusable: true }), await mint()];
        const first = await rig.join(many.key, "a");
        const second = await rig.join(many.key, "b");
        assert.notEqual(first.nodeId, second.nodeId);
        await rig.join(once.key, "c");
        await assert.rejects(rig.join(once.key, "d"), {
          message: `invalid key: API key ${once.id} not valid`,
        });
        assert.deepEqual(
          [await shown(many), await shown(once)].map(({ invalid }) => invalid),
          [false, true],
        );
        assert.deepEqual(await listed(), [many.id]);
      });

      it("are invalid when they were revoked or their time is over", async () => {
        const [revoked, old] = [await mint(), await mint({}, 60)];
        assert.equal((await api("DELETE", `/tailnet/-/keys/${revoked.id}`)).status, 200);
        await rig.local.advance(60_000);
        assert.deepEqual(await shown(revoked), { invalid: true, revoked: true });
        assert.deepEqual(await shown(old), { invalid: true, revoked: false });
        assert.deepEqual(await listed(), []);
        for (const key of [revoked, old]) {
          await assert.rejects(rig.join(key.key, "a"), {
            message: `invalid key: API key ${key.id} not valid`,
          });
        }
      });
    });

    describe("approval", () => {
      beforeEach(async () => {
        await rig.close();
        rig = await makeRig({ deviceApproval: true });
        api = await callerOf(rig.local, ["auth_keys", "devices:core"]);
      });

      it("holds machines back whose key is not pre-authorized, until somebody approves them", async () => {
        const first = await join("first");
        const joining = rig.join((await mint({ preauthorized: false })).key, "second");
        const { nodeId, addresses } = await rig.local.waitForDevice(({ hostname }) => hostname === "second");
        assert.equal((await device(nodeId)).authorized, false);
        await change(nodeId, "authorized", { authorized: true });
        const second = await joining;
        await second.waitForPeer(String(first.addresses[0]), true);
        await first.waitForPeer(String(addresses[0]), true);
        await change(nodeId, "authorized", { authorized: false });
        await second.waitForState("NeedsMachineAuth");
        await first.waitForPeer(String(addresses[0]), false);
        assert.equal((await device(nodeId)).authorized, false);
      });
    });

    it("changes tags to those that the client's own", async () => {
      const { nodeId } = await join("a");
      await change(nodeId, "tags", { tags: ["tag:claw-pool"] });
      assert.deepEqual((await device(nodeId)).tags, ["tag:claw-pool"]);
      const text = /^requested tags \[tag:claw-pool tag:made-up\] are invalid or not permitted$/;
      await refused(nodeId, "tags", { tags: ["tag:claw-pool", "tag:made-up"] }, text);
      await refused(nodeId, "tags", { tags: [] }, /not permitted/);
      assert.deepEqual((await device(nodeId)).tags, ["tag:claw-pool"]);
    });

    it("renames, by base name or whole name, and back to the host name", async () => {
      const [{ nodeId }] = [await join("a"), await join("b")];
      const named = async (name: string) => {
        await change(nodeId, "name", { name });
        return (await device(nodeId)).name;
      };
      assert.equal(await named("m12"), "m12.clawpool.ts.net");
      assert.equal(await named("m13.clawpool.ts.net"), "m13.clawpool.ts.net");
      await refused(nodeId, "name", { name: "b" }, /"b" is taken/);
      await refused(nodeId, "name", { name: "no name" }, /not a valid/);
      assert.equal(await named(""), "a.clawpool.ts.net");
    });

    it("gives another address, which the others then know", async () => {
      const [a, b] = [await join("a"), await join("b")];
      await refused(a.nodeId, "ip", { ipv4: String(b.addresses[0]) }, /is taken/);
      await refused(a.nodeId, "ip", { ipv4: "10.0.0.1" }, /not an IPv4 address of a tailnet/);
      await change(a.nodeId, "ip", { ipv4: "100.80.0.1" });
      assert.deepEqual((await device(a.nodeId)).addresses, ["100.80.0.1", a.addresses[1]]);
      await b.waitForPeer("100.80.0.1", true);
    });

    it("enables routes that a machine offers, and those that it may offer later", async () => {
      const { nodeId, advertiseRoutes } = await join("a");
      const path = `/device/${nodeId}/routes`;
      await change(nodeId, "routes", { routes: ["10.9.0.0/24"] });
      assert.deepEqual((await api("GET", path)).body, {
        advertisedRoutes: [],
        enabledRoutes: ["10.9.0.0/24"],
      });
      await advertiseRoutes(["10.9.0.0/24", "10.8.0.0/24"]);
      await rig.local.waitForDevice((one) => one.advertisedRoutes.length === 2);
      const { advertisedRoutes } = (await api("GET", path)).body as { advertisedRoutes: string[] };
      assert.deepEqual(advertisedRoutes.toSorted(), ["10.8.0.0/24", "10.9.0.0/24"]);
      await refused(nodeId, "routes", { routes: ["nowhere"] }, /"nowhere" is not a route/);
    });

    describe("node keys", () => {
      it("of tagged machines never end, unless somebody enables that: then when they would have ended", async () => {
        const { nodeId, waitForState } = await join("a");
        const { keyExpiryDisabled, expires } = await device(nodeId);
        assert.equal(keyExpiryDisabled, true);
        await later(179 * dayMs);
        await change(nodeId, "key", { keyExpiryDisabled: false });
        assert.equal((await device(nodeId)).expires, expires);
        await later(dayMs);
        await waitForState("NeedsLogin");
        await rig.local.waitForDevice((one) => one.expired && !one.online);
        assert.equal((await device(nodeId)).connectedToControl, false);
      });

      it("of a machine whose expiry is disabled outlive their time", async () => {
        const { nodeId } = await join("a");
        await later(400 * dayMs);
        const { connectedToControl, expires } = await device(nodeId);
        assert.equal(connectedToControl, true);
        // Both clocks went forward: the time is over, and it does not matter.
        assert.ok(Date.parse(expires) < Date.now() + 400 * dayMs);
      });

      it("can be ended at once; the machine then joins again as the same device", async () => {
        const { nodeId, waitForState } = await join("a");
        await change(nodeId, "expire");
        await waitForState("NeedsLogin");
        assert.ok(Date.parse((await device(nodeId)).expires) <= Date.now());
        assert.deepEqual(
          (await rig.local.devices()).map((one) => [one.nodeId, one.expired]),
          [[nodeId, true]],
        );
      });
    });

    it("cuts a machine off that it deletes: no peers, no session, no way back by its old key", async () => {
      const [gone, other] = [await join("gone"), await join("other")];
      await other.waitForPeer(String(gone.addresses[0]), true);
      assert.deepEqual((await api("DELETE", `/device/${gone.nodeId}`)).body, "");
      await gone.waitForState("NeedsLogin");
      await other.waitForPeer(String(gone.addresses[0]), false);
      assert.equal((await api("GET", `/device/${gone.nodeId}`)).status, 404);
      assert.equal((await api("DELETE", `/device/${gone.nodeId}`)).status, 404);
      assert.deepEqual(
        (await rig.local.devices()).map(({ nodeId }) => nodeId),
        [other.nodeId],
      );
    });

    it("forgets ephemeral machines that stay silent for half an hour, and no others", async () => {
      const [passing, staying] = [await join("a", { ephemeral: true }), await join("b")];
      await Promise.all([passing.disconnect(), staying.disconnect()]);
      await rig.local.waitForDevices((list) => list.every(({ online }) => !online));
      await rig.local.advance(29 * 60_000);
      assert.equal((await rig.local.devices()).length, 2);
      await rig.local.advance(60_000);
      assert.deepEqual(
        (await rig.local.devices()).map(({ nodeId }) => nodeId),
        [staying.nodeId],
      );
    });

    it("tells a webhook of a machine's life, signed", async () => {
      const receiver = await startReceiver();
      try {
        const subscriptions = ["categoryTailnetManagement"];
        const made = await api("POST", "/tailnet/-/webhooks", { endpointUrl: receiver.url, subscriptions });
        receiver.secret = (made.body as { secret: string }).secret;
        const key = await mint();
        const { nodeId, addresses } = await rig.join(key.key, "a");
        await change(nodeId, "expire");
        await api("DELETE", `/device/${nodeId}`);
        const deleted = await receiver.waitFor("nodeDeleted");
        const types = ["nodeCreated", "nodeKeyExpired", "nodeDeleted"];
        assert.deepEqual(
          receiver.events.map(({ type }) => type),
          types,
        );
        const { timestamp, ...created } = await receiver.waitFor("nodeCreated");
        assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
        assert.deepEqual(created, {
          version: 1,
          type: "nodeCreated",
          tailnet: "Tclawpool1CNTRL",
          message: "Node a.clawpool.ts.net created",
          data: {
            nodeID: nodeId,
            deviceName: "a.clawpool.ts.net",
            managedBy: "tag:claw-vm",
            actor: key.id,
            url: `https://login.tailscale.com/admin/machines/${addresses[0]}`,
          },
        });
        assert.match(String(deleted.data?.actor), /^k[0-9a-f]+CNTRL$/);
      } finally {
        await receiver.close();
      }
    });
  });
}
