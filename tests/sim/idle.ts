/** What happens to machines that wait: they go bad, their recipe changes, and others take their place. */
import type { Machine, MachineName } from "../../pool/machine/machine.ts";
import type { StoredAuditRow } from "../../pool/store/audit-chain.ts";
import { Chance } from "./chance.ts";
import type { Installation } from "./daemon.ts";
import type { Story } from "./story.ts";
import { crashes, rots, type SimRecipe, type World } from "./world.ts";

/** One ready machine goes bad, some time; nothing tells the daemon. */
export async function rotOne({ world, store }: Story, lasts: number): Promise<void> {
  const { chance, clock } = world;
  await clock.delay(chance.between(0, lasts));
  const ready = store.machines({ states: ["ready"] });
  if (ready.length === 0) return;
  const { name, serverId } = chance.pick(ready);
  const server = world.servers.get(serverId ?? 0);
  if (!server || server.machine.customer !== null) return;
  server.machine.rot = chance.pick(rots);
  world.note(`${name} goes bad: ${server.machine.rot}`);
}

/** Gateway or tailscaled of a machine that serves crashes, some time; nothing tells the daemon. */
export async function crashOne({ world, store }: Story, lasts: number): Promise<void> {
  const { chance, clock } = world;
  await clock.delay(chance.between(0, lasts));
  const serving = store.machines({ states: ["serving"] });
  if (serving.length === 0) return;
  const { name, serverId } = chance.pick(serving);
  const server = world.servers.get(serverId ?? 0);
  if (!server) return;
  server.machine.rot = chance.pick(crashes);
  world.note(`${server.machine.rot === "crash" ? "the gateway" : "tailscaled"} of ${name} crashes`);
}

/** Another recipe comes; what is wrong with it is mended when the trouble is over. */
export async function changeRecipe(
  { world }: Story,
  fault: SimRecipe["fault"],
  lasts: number,
): Promise<void> {
  const { chance, clock } = world;
  const at = chance.between(0, lasts);
  await clock.delay(at);
  world.recipe = { text: "recipe-2", fault };
  world.note(`another recipe comes; its fault: ${fault}`);
  if (fault === null) return;
  await clock.delay(lasts - at);
  world.recipe = { text: "recipe-3", fault: null };
  world.note("the recipe is mended");
}

/** Somebody sees that a roll-out stopped, and lets it go on; rarely although the recipe is no better. */
export async function watchRollout(story: Story): Promise<never> {
  const { world, store } = story;
  for (;;) {
    await world.clock.delay(world.chance.between(1, 15) * 60_000);
    if (!store.flags().some(({ kind }) => kind === "rollout-stopped")) continue;
    if (world.recipe.fault !== null && !world.chance.happens(0.1)) continue;
    if ((await story.resumeRollout()) !== null) world.note("the operator resumes the roll-out");
  }
}

/** Somebody sees that a machine does not come back, and puts its host key right in Hetzner's console. */
export async function watchResumed({ world, store }: Story): Promise<never> {
  const chance = new Chance(world.seed ^ 0x0bac);
  for (;;) {
    await world.clock.delay(chance.between(5, 15) * 60_000);
    for (const { kind, subject } of store.flags()) {
      const server = world.servers.get(store.machine(subject as MachineName)?.serverId ?? 0);
      const isResuming = kind === "not-resumed" || kind === "stuck";
      if (!isResuming || server?.machine.rot !== "host-key") continue;
      server.machine.rot = null;
      world.note(`a person mends the host key of ${subject}`);
    }
  }
}

/**
 * A machine that goes for another leaves as many as the pool keeps, sound ones; and none goes for content that is no good,
 * nor before a canary of it has lasted.
 */
export function judgeFloor(rows: readonly StoredAuditRow[], world: World, installation: Installation): void {
  for (const { action, subject } of rows) {
    const machine = action === "machine.retiring" ? installation.store.machine(subject as MachineName) : null;
    if (machine?.state === "retiring") judgeLeft(machine, world, installation);
  }
}

function judgeLeft(machine: Machine, world: World, { store, config }: Installation): void {
  const forContent = machine.reason?.startsWith("prepared by another recipe") ?? false;
  if (!forContent && !machine.reason?.startsWith("older than")) return;
  const pool = config.pools.find(({ name }) => name === machine.pool);
  const left = store
    .machines({ pool: machine.pool, states: ["ready"] })
    .filter(({ misses, withheld }) => misses === 0 && !withheld);
  if (left.length < (pool?.minReady ?? 0))
    world.violate("I12", `${machine.name} goes for another and leaves ${left.length} of ${pool?.minReady}`);
  if (!forContent) return;
  const rollout = store.rollout(machine.pool);
  if (rollout?.phase !== "rolling" || rollout.paused || rollout.proven !== rollout.target)
    world.violate("I12", `${machine.name} goes for content that is ${rollout?.phase}`);
  // Of a canary that was sold nobody knows more than its heartbeats.
  const isSold = store.machine(rollout?.canary ?? ("" as MachineName))?.order != null;
  if (rollout?.target.endsWith(world.recipe.text) && world.recipe.fault !== null && !isSold)
    world.violate("I12", `${machine.name} goes for a recipe that ${world.recipe.fault}`);
}
