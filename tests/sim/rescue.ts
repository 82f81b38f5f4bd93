/**
 * The store is lost, or an older one comes back: somebody stops the daemon, restores or rebuilds, starts it again, looks at
 * what is in quarantine and releases it. In between nothing may be bought, claimed or destroyed.
 */
import { asFromBackup } from "../../pool/recovery/records.ts";
import { auditRowsOf } from "./database.ts";
import type { Story } from "./story.ts";
import { Watch } from "./watch.ts";

const minute = 60_000;

export interface Rescue {
  /** `older`: a backup comes back; `elsewhere`: with the records of then, too; `lost`: there is none. */
  readonly kind: "older" | "elsewhere" | "lost";
  /** In ms from the beginning: when the backup was made, and when it comes back. */
  readonly backupAt: number;
  readonly at: number;
}

const actor = "person:operator";

export async function rescue(story: Story, { kind, backupAt, at }: Rescue): Promise<void> {
  const { world, installation } = story;
  await world.clock.delay(backupAt);
  installation.store.mark();
  const then = new Map(world.records);
  await world.clock.delay(at - backupAt);
  const stopped = story.daemon;
  stopped.life.kill();
  await installation.records.settled();
  const rows = new Set<string>(story.store.machines({ live: true }).map(({ name }) => name));
  installation.store.rewind(kind === "lost");
  world.restoredAt = world.clock.now();
  // A row of before its server was bought cannot know that it was, and is gone again: it may be built once more.
  for (const line of world.bill) if (line.until !== null) line.name += ", before the store came back";
  if (kind === "elsewhere") {
    world.records.clear();
    for (const [name, text] of then) world.records.set(name, asFromBackup(text));
  }
  installation.watch = new Watch(world, installation.store);
  installation.watch.follow(auditRowsOf());
  installation.store.onWritten = (rows) => installation.watch.wrote(rows);
  world.note(
    `the store is ${kind === "lost" ? "lost" : `as it was ${Math.round((at - backupAt) / 1000)} s ago`}`,
  );
  installation.store.enterQuarantine(`a rescue: ${kind}`, { actor });
  const before = watchQuarantine(story, () => story.daemon === stopped, rows);
  await lookAndRelease(story);
  before();
}

/**
 * While it lasts no server is bought and none that was there goes, unless somebody released its machine.
 *
 * @param isOver the life before is over, and only what it had sent arrives
 * @param rows machines of the store that it had
 */
function watchQuarantine(
  { world, store }: Story,
  isOver: () => boolean,
  rows: ReadonlySet<string>,
): () => void {
  const { onMade, onDelete } = world;
  world.onMade = (server) => {
    if (!isOver() || !rows.has(server.name)) onMade(server);
    const row = store.machines().find(({ name }) => name === server.name);
    if (!isOver() && store.quarantine() && row?.held !== null)
      world.violate("quarantine", `${server.name} is bought`);
  };
  world.onDelete = (server) => {
    onDelete(server);
    const row = store.machines().find(({ name }) => name === server.name);
    if (!isOver() && row?.held !== null)
      world.violate("quarantine", `${server.name} is deleted before anybody released it`);
  };
  return () => Object.assign(world, { onMade, onDelete });
}

/** As docs/recovery.md says: look again while something is doubtful, release what is sure, then each by its name. */
async function lookAndRelease(story: Story): Promise<void> {
  const { world, store } = story;
  const pause = () => world.clock.delay(world.chance.between(0.5, 8) * minute);
  for (let looks = 0; store.quarantine(); ) {
    await pause();
    const status = await story.ask(async ({ recovery }) => recovery.status());
    if (!status || status.answer.inspectedAt === null) continue;
    if (status.answer.machines.some(({ sure }) => !sure) && looks++ < 3) {
      await story.ask(({ recovery }) => recovery.look(actor));
      continue;
    }
    await story.ask(async ({ recovery }) => recovery.release({ machine: null, retire: false, actor }));
  }
  for (;;) {
    const [machine] = store.machines({ live: true }).filter(({ held }) => held !== null);
    if (!machine) return;
    await pause();
    world.note(`the operator decides about ${machine.name}, ${machine.state}: ${machine.held}`);
    const request = { machine: machine.name, retire: machine.order === null, actor };
    await story.ask(async ({ recovery }) => recovery.release(request));
  }
}
