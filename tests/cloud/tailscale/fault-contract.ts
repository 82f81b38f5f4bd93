/**
 * Faults of the control server, as a machine meets them that joins. Run on the simulated tailnet and with real
 * tailscaled. Those of the API: faults.test.ts; of the relay: real.test.ts.
 */
import assert from "node:assert/strict";
import { type Caller, callerOf, mintKey } from "./caller.ts";
import type { FaultInput } from "./faults.ts";
import type { TailnetRig } from "./rig.ts";

const dayMs = 86_400_000;

export function faultContract(name: string, makeRig: () => Promise<TailnetRig>): void {
  describe(`local tailnet: faults that machines meet: ${name}`, () => {
    let rig: TailnetRig;
    let api: Caller;
    beforeEach(async () => {
      rig = await makeRig();
      api = await callerOf(rig.local, ["auth_keys", "devices:core"]);
    });
    afterEach(() => rig.close());

    const mint = () => mintKey(api);
    const join = async (hostname: string) => rig.join((await mint()).key, hostname);
    const nameOf = async (nodeId: string) => {
      const { body } = await api("GET", `/device/${nodeId}`);
      return (body as { name: string }).name;
    };
    const isPending = async (promise: Promise<unknown>) =>
      (await Promise.race([promise, Promise.resolve("pending")])) === "pending";
    const add = (effect: FaultInput["effect"], more: Partial<FaultInput> = {}) =>
      rig.local.faults.add({ target: "control", path: "/machine/register", ...more, effect });

    it("make a registration slow", async () => {
      const fault = await add({ kind: "delay", ms: dayMs });
      const joining = join("a");
      await rig.local.faults.waitForHits(fault);
      assert.deepEqual(await rig.local.devices(), []);
      assert.ok(await isPending(joining));
      await rig.local.faults.remove(fault);
      await joining;
    });

    it("limit the rate of registrations: the machine comes back and gets in", async () => {
      const fault = await add({ kind: "answer", status: 429, headers: { "Retry-After": "1" } });
      await join("a");
      assert.deepEqual(
        (await rig.local.faults.list()).map(({ id, hits }) => [id, hits]),
        [[fault, 1]],
      );
    });

    it("answer a registration with 503, which the machine asks again", async () => {
      await add({ kind: "answer", status: 503 }, { times: 2 });
      await join("a");
      assert.deepEqual(
        (await rig.local.faults.list()).map(({ hits }) => hits),
        [2],
      );
    });

    it("lose a registration's answer: the machine is in the list, and its next try finds its key spent", async () => {
      await add({ kind: "drop", when: "after" });
      const key = await mint();
      await assert.rejects(rig.join(key.key, "a"), { message: `invalid key: API key ${key.id} not valid` });
      assert.deepEqual(
        (await rig.local.devices()).map(({ hostname }) => hostname),
        ["a"],
      );
    });

    it("give a machine the next name, because its own is taken", async () => {
      await add({ kind: "taken" });
      const { nodeId } = await join("a");
      assert.equal(await nameOf(nodeId), "a-1.clawpool.ts.net");
      const next = await join("a");
      assert.equal(await nameOf(next.nodeId), "a.clawpool.ts.net");
    });

    it("take the control server down: a machine waits until it is back", async () => {
      const down = await rig.local.faults.add({ target: "control", effect: { kind: "down" } });
      const joining = join("a");
      await rig.local.faults.waitForHits(down, 2);
      assert.deepEqual(await rig.local.devices(), []);
      await rig.local.faults.remove(down);
      await joining;
    });
  });
}
