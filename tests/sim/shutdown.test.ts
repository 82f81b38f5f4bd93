/** A daemon that is told to stop begins nothing more, and ends when what it began has ended. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";

const second = 1_000;

describe("a daemon that is told to stop, under simulation", function () {
  this.timeout(60_000);

  it("does none of the minute's work any more, though the minute comes round", async () => {
    let begun: number[] = [];
    const { violations, trace } = await simulate(1, {
      buyers: 0,
      kills: [],
      async script(story) {
        const { world, installation, store } = story;
        const applies = () =>
          store
            .auditRows({ subject: "platform" })
            .filter(({ action }) => action === "terraform.platform.begun");
        while (!story.daemon.serving) await world.clock.delay(second);
        const { serving, life } = story.daemon;
        const before = applies().length;
        const { config } = installation;
        installation.config = { ...config, network: { ...config.network, sshFrom: ["192.0.2.0/24"] } };
        await serving.stop();
        await serving.everyMinute();
        begun = [before, applies().length];
        life.kill();
      },
    });
    assert.deepEqual(violations, [], trace.join("\n"));
    assert.deepEqual(begun, [1, 1]);
  });

  it("lets terraform finish, whenever it is told", async () => {
    let stopped = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const { violations, trace } = await simulate(seed, { stops: true });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
      if (trace.some((line) => line.endsWith("it is stopped"))) stopped += 1;
    }
    assert.ok(stopped >= 5, `only ${stopped} of 20 ended in order`);
  });
});
