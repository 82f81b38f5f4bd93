import assert from "node:assert/strict";
import { type Rig, serverOrder, startRig } from "../rig.ts";
import { drawDuration, durations, type Timing } from "./durations.ts";

const timings = Object.keys(durations) as Timing[];

describe("Hetzner emulator: durations", () => {
  it("are drawn with the catalogue's quantiles", () => {
    const n = 4_000;
    for (const timing of timings) {
      const { median, p90 } = durations[timing];
      const drawn = Array.from({ length: n }, (_, nth) => drawDuration(timing, 7, nth)).sort((a, b) => a - b);
      const quantile = (part: number) => drawn[Math.floor(part * n)] ?? 0;
      // Four standard errors of a quantile of 4,000 draws: the seed is fixed, so this holds or it never does.
      const near = (given: number, wanted: number) =>
        Math.abs(Math.log(given / wanted)) < Math.log(p90 / median) * 0.1;
      assert.ok(near(quantile(0.5), median), `${timing}: median ${quantile(0.5)}`);
      assert.ok(near(quantile(0.9), p90), `${timing}: p90 ${quantile(0.9)}`);
      assert.ok((drawn[0] ?? 0) > 0 && (drawn[n - 1] ?? 0) < median * (p90 / median) ** 2.5);
    }
  });

  it("are the same for the same seed, and others for another", () => {
    const draws = (seed: number) =>
      timings.flatMap((timing) => [0, 1, 2].map((nth) => drawDuration(timing, seed, nth)));
    assert.deepEqual(draws(1), draws(1));
    assert.notDeepEqual(draws(1), draws(2));
    assert.equal(new Set(draws(1)).size, timings.length * 3);
  });

  describe("of a run", () => {
    const rigs: Rig[] = [];
    afterEach(async () => {
      for (const rig of rigs.splice(0)) await rig.close();
    });

    /** What a run's actions took, in milliseconds on its clock. */
    async function run(options: { seed: number; speed?: number }): Promise<[string, number][]> {
      const rig = await startRig(options);
      rigs.push(rig);
      const begun = rig.clock.now();
      const took: [string, number][] = [];
      for (const name of ["m-1", "m-2"]) {
        const { server, action, next_actions } = await rig.must("POST", "/servers", serverOrder(name));
        const start = next_actions[0]?.id ?? 0;
        for (const id of [action.id, start]) {
          const from = rig.clock.now();
          for (;;) {
            const now = (await rig.must("GET", `/servers/${server.id}/actions/${id}`)).action;
            if (now.status !== "running") {
              took.push([now.command, rig.clock.now() - from]);
              break;
            }
            await rig.clock.advance(1);
          }
        }
      }
      assert.ok(rig.clock.now() > begun);
      return took;
    }

    it("repeat with the seed", async () => {
      const speed = 500;
      const first = await run({ seed: 3, speed });
      assert.deepEqual(await run({ seed: 3, speed }), first);
      assert.notDeepEqual(await run({ seed: 4, speed }), first);
    });

    it("repeat over a restart in the middle", async () => {
      const commands = async (restart: boolean) => {
        const rig = await startRig({ seed: 5 });
        rigs.push(rig);
        const ends: number[] = [];
        for (const name of ["m-1", "m-2", "m-3"]) {
          const { action } = await rig.must("POST", "/servers", serverOrder(name));
          if (restart) await rig.restart();
          await rig.clock.advance(300_000);
          const { finished } = (await rig.must("GET", `/actions/${action.id}`)).action;
          ends.push(Date.parse(finished ?? ""));
        }
        return ends;
      };
      assert.deepEqual(await commands(true), await commands(false));
    });
  });
});
