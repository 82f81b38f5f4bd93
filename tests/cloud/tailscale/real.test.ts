/** The border's contract on the real control server with real tailscaled nodes, and what only those can show. */
import { strict as assert } from "node:assert";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tailnetContract, tailnetOf } from "../../tailnet/contract.ts";
import { ensureTailscale, type TailscaleBinaries } from "./build.ts";
import { apiContract } from "./contract.ts";
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

  tailnetContract("real", () => realRig(binaries));
  apiContract("real", (settings) => realRig(binaries, settings));

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
