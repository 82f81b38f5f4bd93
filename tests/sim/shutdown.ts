/** The daemon is told to stop in the middle of its work, and systemd starts it again. */
import type { Story } from "./story.ts";

/** After so long it leaves with work under way (pool/cli/serve.ts). */
const patienceMs = 840_000;

/** Once, some time within `lasts` ms; one in five operators does not wait for its end. */
export async function shutDown(story: Story, lasts: number): Promise<void> {
  const { world } = story;
  const { chance, clock } = world;
  await clock.delay(chance.between(0, lasts));
  const { life, serving, inherited } = story.daemon;
  if (!serving || life.dead) return;
  world.note("the daemon is told to stop");
  const stopped = serving.stop().then(() => "stopped");
  const leftAtMs = chance.happens(0.2) ? chance.soon(1_000, patienceMs) : patienceMs;
  const left = clock.delay(leftAtMs).then(() => "left at once");
  const end = await Promise.race([stopped, left, life.died.then(() => "dead")]);
  world.note(`it is ${end}`);
  if (end === "stopped") {
    const running = [...world.processes].filter(([, ended]) => !inherited.has(ended)).map(([name]) => name);
    if (running.length > 0)
      world.violate("daemon", `it stopped while terraform runs for ${running.join(", ")}`);
  }
  life.kill();
}
