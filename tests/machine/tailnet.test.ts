/** The hand-over program's join, on real tailscaled and on the stand-in of folder machines. */
import { strict as assert } from "node:assert";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newTailscaleState, startTailscaled } from "../cloud/machines/process/tailscaled.ts";
import { type LocalTailscale, startTailscale } from "../cloud/tailscale/api.ts";
import { ensureTailscale, type TailscaleBinaries } from "../cloud/tailscale/build.ts";
import { startDaemon, startNode } from "../cloud/tailscale/node.ts";

interface Facts {
  readonly tailscaleSocket: string;
  readonly gateway: { readonly host: string; readonly port: number };
}
// Plain JavaScript for the machine; outside of what tsc checks.
const { joinTailnet, localApi } = (await import(
  new URL("../../ansible/files/machine/tailnet.mjs", import.meta.url).href
)) as {
  joinTailnet(
    facts: Facts,
    wanted: { key: string; hostname: string; controlUrl: string },
    step: (name: string) => void,
  ): Promise<{ address: string; node: string }>;
  localApi(socket: string, method: string, path: string): Promise<{ BackendState: string }>;
};

for (const mode of ["real", "simulated"] as const) {
  describe(`the hand-over program's join: ${mode}`, function () {
    this.timeout(60_000);
    let binaries: TailscaleBinaries | undefined;
    let dir: string;
    let local: LocalTailscale;
    let daemon: { close(): Promise<void> };
    let facts: Facts;
    const gateway = createServer((_request, response) => response.end("gateway"));
    let keys = 0;

    before(async function () {
      this.timeout(900_000);
      if (mode === "real")
        binaries = await ensureTailscale({ onProgress: (text) => console.log(`      ${text}`) });
      gateway.listen(0, "127.0.0.1");
      await once(gateway, "listening");
    });
    after(() => gateway.close());
    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), "tj-"));
      local = await startTailscale({ mode, dir, ...(binaries ? { binaries } : {}) });
      const { port } = gateway.address() as AddressInfo;
      facts = { tailscaleSocket: join(dir, "d", "s"), gateway: { host: "127.0.0.1", port } };
      if (binaries) daemon = await startDaemon({ binaries, dir: join(dir, "d") });
      else {
        facts = { ...facts, tailscaleSocket: join(dir, "s") };
        daemon = await startTailscaled(facts.tailscaleSocket, newTailscaleState());
      }
    });
    afterEach(async () => {
      await daemon.close();
      await local.close();
      await rm(dir, { recursive: true, force: true });
    });

    const key = async () => {
      const id = `k${++keys}CNTRL`;
      const text = `tskey-auth-${id}-${"s".repeat(20)}`;
      await local.control.addKey(text, {
        id,
        reusable: false,
        ephemeral: false,
        preauthorized: true,
        tags: ["tag:agent"],
        expires: new Date(Date.now() + 600_000).toISOString(),
      });
      return text;
    };
    const state = async () =>
      (await localApi(facts.tailscaleSocket, "GET", "status?peers=false")).BackendState;

    it("comes up under its name and says who it is", async () => {
      const steps: string[] = [];
      const wanted = { key: await key(), hostname: "agent-a", controlUrl: local.controlUrl };
      const joined = await joinTailnet(facts, wanted, (step) => steps.push(step));
      const device = (await local.devices()).find(({ hostname }) => hostname === "agent-a");
      assert.deepEqual(joined, { address: device?.addresses[0], node: device?.nodeId, reachable: true });
      assert.deepEqual(steps, ["joined", "forwarded"]);
    });

    it("finds that it has joined already, without using the key again", async () => {
      const wanted = { key: await key(), hostname: "agent-b", controlUrl: local.controlUrl };
      const first = await joinTailnet(facts, wanted, () => {});
      const steps: string[] = [];
      assert.deepEqual(await joinTailnet(facts, wanted, (step) => steps.push(step)), first);
      assert.deepEqual(steps, ["forwarded"]);
    });

    it("says that a spent key is refused, which another key may mend, and keeps the key to itself", async () => {
      const spent = await key();
      await joinTailnet(facts, { key: spent, hostname: "agent-c", controlUrl: local.controlUrl }, () => {});
      await localApi(facts.tailscaleSocket, "POST", "logout");
      const attempt = joinTailnet(
        facts,
        { key: spent, hostname: "agent-c", controlUrl: local.controlUrl },
        () => {},
      );
      await assert.rejects(attempt, (error: Error & { step: string; retryable: boolean }) => {
        assert.deepEqual([error.step, error.retryable], ["tailnet", true]);
        assert.ok(!error.message.includes(spent));
        return true;
      });
    });

    it("joins as the same device by another key when the first join's answer was lost", async () => {
      const register = { target: "control", path: "/machine/register" } as const;
      await local.faults.add({ ...register, effect: { kind: "drop", when: "after" } });
      const wanted = async () => ({ key: await key(), hostname: "agent-f", controlUrl: local.controlUrl });
      await assert.rejects(
        joinTailnet(facts, await wanted(), () => {}),
        /tailscaled refused: invalid key/,
      );
      const [first] = await local.devices();
      const { node } = await joinTailnet(facts, await wanted(), () => {});
      assert.equal(node, first?.nodeId);
      assert.equal((await local.devices()).length, 1);
    });

    it("waits when the control server limits registrations, and gets in", async () => {
      const register = { target: "control", path: "/machine/register" } as const;
      const effect = { kind: "answer", status: 429, headers: { "retry-after": "1" } } as const;
      const fault = await local.faults.add({ ...register, effect });
      const wanted = { key: await key(), hostname: "agent-g", controlUrl: local.controlUrl };
      const { node } = await joinTailnet(facts, wanted, () => {});
      assert.ok(node);
      assert.deepEqual(
        (await local.faults.list()).map(({ id, hits }) => [id, hits]),
        [[fault, 1]],
      );
    });

    it("waits for a control server that is away, and for one that fails", async () => {
      const down = await local.faults.add({ target: "control", effect: { kind: "down" } });
      await local.faults.add({
        target: "control",
        path: "/machine/register",
        effect: { kind: "answer", status: 500 },
      });
      const wanted = { key: await key(), hostname: "agent-h", controlUrl: local.controlUrl };
      const joining = joinTailnet(facts, wanted, () => {});
      await local.faults.waitForHits(down);
      await local.faults.remove(down);
      assert.ok((await joining).node);
    });

    it("joins again after it was logged out", async () => {
      const wanted = async () => ({ key: await key(), hostname: "agent-d", controlUrl: local.controlUrl });
      await joinTailnet(facts, await wanted(), () => {});
      await localApi(facts.tailscaleSocket, "POST", "logout");
      assert.equal(await state(), "NeedsLogin");
      const { node } = await joinTailnet(facts, await wanted(), () => {});
      assert.ok(node);
      assert.equal(await state(), "Running");
    });

    if (mode === "real") {
      it("lets another node reach the gateway's port", async () => {
        const wanted = { key: await key(), hostname: "agent-e", controlUrl: local.controlUrl };
        const { address } = await joinTailnet(facts, wanted, () => {});
        const { controlUrl } = local;
        assert.ok(binaries);
        const other = await startNode({
          binaries,
          controlUrl,
          dir: join(dir, "o"),
          authKey: await key(),
          hostname: "other",
        });
        try {
          const answer = await other.fetch(`http://${address}:${facts.gateway.port}/`);
          assert.equal(answer.body, "gateway");
        } finally {
          await other.close();
        }
      });
    }
  });
}
