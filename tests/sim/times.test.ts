/** How long it takes until a dead daemon is replaced, in simulated time. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { minute, play, second } from "../faults/scene.ts";
import { simulate } from "./simulation.ts";
import { systemdPausesMs } from "./story.ts";

/** When what the trace says happened, in seconds. */
const parsed = (line: string): { at: number; what: string } => {
  const [, at = "", what = ""] = /^ *([\d.]+) s {2}(.*)$/.exec(line) ?? [];
  return { at: Number(at), what };
};

describe("a simulated daemon that died", function () {
  this.timeout(60_000);

  it("is started again as the unit says", () => {
    const unit = readFileSync(new URL("../../deploy/clawpool.service", import.meta.url), "utf8");
    const seconds = (name: string) => Number(new RegExp(`^${name}=(\\d+)$`, "m").exec(unit)?.[1]);
    assert.deepEqual(systemdPausesMs, {
      restart: seconds("RestartSec") * 1_000,
      watchdog: seconds("WatchdogSec") * 1_000,
    });
  });

  it("is replaced within 40 s: its successor serves, whatever was left behind", async () => {
    const gaps: number[] = [];
    for (let seed = 1; seed <= 4; seed++) {
      for (const kills of [[50], [120], [200]]) {
        const { trace, violations } = await simulate(seed, { buyers: 1, lasts: 0, kills, spell: null });
        assert.deepEqual(violations, [], trace.join("\n"));
        const lines = trace.map(parsed);
        const death = lines.findIndex(({ what }) => what.startsWith("the daemon is killed"));
        const next = lines.slice(death).find(({ what }) => what === "the daemon serves");
        assert(death >= 0 && next, trace.join("\n"));
        gaps.push(next.at - (lines[death]?.at ?? 0));
      }
    }
    assert(Math.max(...gaps) <= 40, gaps.join());
    assert.equal(gaps.length, 12);
  });

  it("goes on with a hand-over on the same machine, however long nobody was there", async () => {
    await play(async (scene) => {
      await scene.ready(2);
      const order = await scene.order("interrupted");
      scene.pays(order);
      // Until Stripe has confirmed it the hand-over cannot end, however fast the machine is.
      scene.world.silent = "stripe";
      assert.equal((await scene.tell(order, "checkout.session.completed"))?.kind, "claimed");
      const { name } = scene.machineOf(order);
      await scene.until("it is handed over", () => scene.machineOf(order).state === "handing-over");
      const since = scene.world.clock.now();
      // Longer than a hand-over may take, with nobody there for long enough to do it.
      while (scene.world.clock.now() < since + 2 * minute) {
        scene.kill();
        await scene.controller();
        await scene.wait(5 * second);
      }
      scene.world.silent = null;
      // The one that is there waits for an answer that never comes.
      scene.kill();
      await scene.reached(order, "running");
      assert.equal(scene.machineOf(order).name, name);
    });
  });

  it("is replaced while Tailscale answers nothing: only what needs a key waits for it", async () => {
    await play(async (scene) => {
      await scene.ready(2);
      const order = await scene.serve("before");
      scene.world.silent = "tailscale";
      scene.kill();
      await scene.controller();
      scene.cancels(order);
      assert.equal((await scene.tell(order, "customer.subscription.deleted"))?.kind, "ended");
      scene.world.silent = null;
    });
  });
});
