/** The border's contract on the real control server with real tailscaled nodes, and what only those can show. */
import { strict as assert } from "node:assert";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, dirname } from "node:path";
import { onLocalCloud, tailnetContract, tailnetOf } from "../../tailnet/contract.ts";
import { ensureTailscale, type TailscaleBinaries } from "./build.ts";
import { callerOf, mintKey } from "./caller.ts";
import { apiContract } from "./contract.ts";
import { faultContract } from "./fault-contract.ts";
import type { TailnetNode } from "./node.ts";
import { type RealRig, realRig } from "./rig.ts";

describe("local tailnet with real nodes", function () {
  // A join takes 50-100 ms; the first build takes minutes.
  this.timeout(60_000);
  let binaries: TailscaleBinaries;
  before(async function () {
    this.timeout(900_000);
    binaries = await ensureTailscale({ onProgress: (text) => console.log(`      ${text}`) });
  });

  tailnetContract(
    "real",
    onLocalCloud(() => realRig(binaries)),
  );
  apiContract("real", (settings) => realRig(binaries, settings));
  faultContract("real", () => realRig(binaries));

  it("makes tailscaled wait for as long as Retry-After says, and tell of it", async () => {
    const rig = await realRig(binaries);
    try {
      const effect = { kind: "answer", status: 429, headers: { "Retry-After": "2" } } as const;
      await rig.local.faults.add({ target: "control", path: "/machine/register", effect });
      const { key } = await mintKey(await callerOf(rig.local, ["auth_keys"]));
      const { log } = await rig.start(key, "a");
      assert.match(await readFile(log, "utf8"), /node registration rate limited; will retry after 2s/);
    } finally {
      await rig.close();
    }
  });

  it("joins machines while the relay is down, and lets them talk when it is back if they have no other way", async () => {
    const rig = await realRig(binaries);
    const server = createServer((_request, response) => response.end("through the relay"));
    try {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      const down = await rig.local.faults.add({ target: "relay", effect: { kind: "down" } });
      const { key } = await mintKey(await callerOf(rig.local, ["auth_keys"]), { reusable: true });
      const [web, other] = await Promise.all(
        ["web", "other"].map((name) => rig.start(key, name, { relayOnly: true })),
      );
      assert.ok(web && other);
      await other.api.waitForPeer(String(web.addresses[0]), true);
      await web.api.serveTcp(18789, `127.0.0.1:${port}`);
      const asking = other.fetch(`http://${web.addresses[0]}:18789/`);
      // Both have tried to reach it, again and again.
      await rig.local.faults.waitForHits(down, 6);
      assert.equal(await Promise.race([asking, Promise.resolve("pending")]), "pending");
      await rig.local.faults.remove(down);
      assert.equal((await asking).body, "through the relay");
    } finally {
      server.close();
      server.closeAllConnections();
      await rig.close();
    }
  });

  describe("two nodes", () => {
    let rig: RealRig;
    let web: TailnetNode;
    let other: TailnetNode;
    const server = createServer((request, response) => response.end(`${request.method} ${request.url}`));

    beforeEach(async () => {
      rig = await realRig(binaries);
      const tailnet = tailnetOf(rig.local);
      const join = async (hostname: string) => {
        const key = await tailnet.mintKey({
          tags: ["tag:claw-vm"],
          expirySeconds: 600,
          description: hostname,
        });
        return rig.start(key.key.expose(), hostname);
      };
      [web, other] = await Promise.all([join("web"), join("other")]);
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      await other.api.waitForPeer(String(web.addresses[0]), true);
      await web.api.serveTcp(18789, `127.0.0.1:${(server.address() as AddressInfo).port}`);
    });
    afterEach(async () => {
      server.close();
      server.closeAllConnections();
      await rig.close();
    });

    it("reach each other over TCP, by IPv4 and IPv6", async () => {
      const [v4, v6] = web.addresses;
      assert.deepEqual((await other.fetch(`http://${v4}:18789/a`)).body, "GET /a");
      assert.deepEqual((await other.fetch(`http://[${v6}]:18789/b`, { method: "POST" })).body, "POST /b");
      assert.ok((await other.dial(String(v4), 18789)) > 0);
    });

    it("lose each other when one is deleted, which then has to log in again", async () => {
      const address = String(web.addresses[0]);
      await other.dial(address, 18789);
      await tailnetOf(rig.local).deleteDevice(web.nodeId);
      await web.api.waitForState("NeedsLogin");
      await other.api.waitForPeer(address, false);
      await assert.rejects(other.dial(address, 18789), /is not in the tailnet/);
      assert.deepEqual(
        (await rig.local.devices()).map((device) => device.hostname),
        ["other"],
      );
    });

    it("stay apart when the deleted one comes back with what it remembers", async () => {
      await tailnetOf(rig.local).deleteDevice(web.nodeId);
      await web.api.waitForState("NeedsLogin");
      await web.close();
      const again = await rig.daemon(basename(dirname(web.socket)));
      await again.api.waitForState("NeedsLogin");
      assert.equal((await again.api.status()).Self?.TailscaleIPs ?? null, null);
      assert.deepEqual(
        (await rig.local.devices()).map((device) => device.hostname),
        ["other"],
      );
    });

    it("send each other what is for an enabled route, and nothing of one that is only offered", async () => {
      const call = await callerOf(rig.local, ["devices:core", "devices:routes"]);
      await web.api.advertiseRoutes(["10.9.0.0/24", "10.8.0.0/24"]);
      await rig.local.waitForDevice((device) => device.advertisedRoutes.length === 2);
      await call("POST", `/device/${web.nodeId}/routes`, { routes: ["10.9.0.0/24"] });
      await other.api.waitForPeers((peers) => peers.some(({ PrimaryRoutes }) => PrimaryRoutes?.length));
      const [peer] = Object.values((await other.api.status(true)).Peer ?? {});
      assert.deepEqual(peer?.PrimaryRoutes, ["10.9.0.0/24"]);
    });

    it("tell of each other that a key is over", async () => {
      const call = await callerOf(rig.local, ["devices:core"]);
      await call("POST", `/device/${web.nodeId}/expire`);
      await other.api.waitForPeers((peers) => peers.some(({ Expired }) => Expired));
    });

    const cutControl = async () => {
      const down = await rig.local.faults.add({ target: "control", effect: { kind: "down" } });
      await rig.local.waitForDevices((devices) => devices.every(({ online }) => !online));
      return down;
    };

    it("go on talking while the control server is down", async () => {
      const address = String(web.addresses[0]);
      await other.dial(address, 18789);
      await cutControl();
      await other.dial(address, 18789);
      assert.equal((await other.api.status()).BackendState, "Running");
      assert.equal((await tailnetOf(rig.local).device(web.nodeId))?.connectedToControl, false);
    });

    // Not in the test above: tailscaled waits 10 s after a dial to a control server on a private address has failed.
    it("are back in the list when the control server is", async () => {
      await rig.local.faults.remove(await cutControl());
      await rig.local.waitForDevices((devices) => devices.every(({ online }) => online));
    });

    it("are described with fields=all: relay latency, endpoints, distribution", async () => {
      const call = await callerOf(rig.local, ["devices:core:read"]);
      // The machine measures the relays and finds its endpoints some time after it has joined, and tells both when it has.
      await rig.local.waitForDevice(
        ({ nodeId, clientConnectivity: found }) =>
          nodeId === web.nodeId &&
          found !== undefined &&
          found.endpoints.length > 0 &&
          Object.keys(found.latency).length > 0,
      );
      const { body } = await call("GET", `/device/${web.nodeId}?fields=all`);
      const device = body as {
        clientVersion: string;
        os: string;
        distro: { name: string };
        clientConnectivity: { endpoints: string[]; latency: object; clientSupports: object };
      };
      assert.match(device.clientVersion, /^1\.102\.3/);
      assert.equal(device.os, "linux");
      assert.ok(device.distro.name);
      const { endpoints, latency, clientSupports } = device.clientConnectivity;
      assert.ok(endpoints.length > 0);
      assert.deepEqual(Object.keys(latency), ["local cloud"]);
      const supports = ["hairPinning", "ipv6", "pcp", "pmp", "udp", "upnp"];
      assert.deepEqual(Object.keys(clientSupports).sort(), supports);
    });

    it("keep node id and addresses when a machine joins again by another key", async () => {
      const key = await tailnetOf(rig.local).mintKey({
        tags: ["tag:claw-pool"],
        expirySeconds: 600,
        description: "again",
      });
      await web.api.logout();
      await rig.local.waitForDevice((device) => device.nodeId === web.nodeId && device.expired);
      await web.api.join({
        controlUrl: rig.local.controlUrl,
        authKey: key.key.expose(),
        hostname: "renamed",
      });
      const { Self } = await web.api.status();
      assert.deepEqual([Self?.ID, Self?.TailscaleIPs], [web.nodeId, web.addresses]);
      const device = await tailnetOf(rig.local).device(web.nodeId);
      assert.deepEqual([device?.hostname, device?.tags], ["renamed", ["tag:claw-pool"]]);
    });
  });
});
