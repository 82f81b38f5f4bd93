/**
 * The store is lost, or an older one comes back: somebody stops the daemon, restores or rebuilds, starts it again, looks at
 * what is in quarantine and releases it. In between nothing may be bought, claimed or destroyed.
 */
import type { RecoveryStatus } from "../../pool/recovery/findings.ts";
import { asFromBackup } from "../../pool/recovery/records.ts";
import { outdatedRecords } from "./borders/records.ts";
import { Chance } from "./chance.ts";
import { auditRowsOf } from "./database.ts";
import type { Story } from "./story.ts";
import { Watch } from "./watch.ts";
import type { World } from "./world.ts";

const minute = 60_000;

export interface Rescue {
  /** `older`: a backup comes back; `elsewhere`: with the records of then, too; `lost`: there is none. */
  readonly kind: "older" | "elsewhere" | "lost";
  /** In ms from the beginning: when the backup was made, and when it comes back. */
  readonly backupAt: number;
  readonly at: number;
  /** It goes with the daemon's death when that comes before: what was committed last may be written down nowhere else. */
  readonly withDaemon?: boolean;
  /** Another one behind it; there is none, unless told otherwise. */
  readonly again?: SecondRescue | null;
}

export interface SecondRescue {
  readonly kind: "older" | "elsewhere";
  /** Its backup is made in the first quarantine, behind the release of some machines by name, or when all are released. */
  readonly backup: "held" | "released";
  /** In ms, when it comes back: counted from when all are released. */
  readonly after: number;
}

/** What a backup has: the store is marked, and these are the records of then. */
type Backup = ReadonlyMap<string, string>;

const actor = "person:operator";
const asItIs = { retire: false, serves: false, actor } as const;

export async function rescue(
  story: Story,
  { kind, backupAt, at, withDaemon = false, again = null }: Rescue,
): Promise<void> {
  const { clock } = story.world;
  await clock.delay(backupAt);
  const first = makeBackup(story);
  const { died } = story.daemon.life;
  await Promise.race([clock.delay(at - backupAt), ...(withDaemon ? [died] : [])]);
  let second: Backup | null = null;
  const makeSecond = () => {
    second = makeBackup(story);
    // Somebody buys what was warm in it.
    for (let i = 0; i < 2; i++) story.another(minute);
  };
  await comeBack(story, kind, first, again?.backup === "held" ? makeSecond : null);
  if (again === null) return;
  if (second === null) makeSecond();
  await clock.delay(again.after);
  await comeBack(story, again.kind, second ?? new Map(), null);
}

function makeBackup({ installation, world }: Story): Backup {
  installation.store.mark();
  return new Map(world.records);
}

/** @param onSomeReleased is called while the quarantine lasts, when a few machines were released by name; nobody does that when null */
async function comeBack(
  story: Story,
  kind: Rescue["kind"],
  then: Backup,
  onSomeReleased: (() => void) | null,
): Promise<void> {
  const { world, installation } = story;
  const stopped = story.daemon;
  stopped.life.kill();
  const rows = new Set<string>(story.store.machines({ live: true }).map(({ name }) => name));
  for (const name of outdatedRecords(world, installation))
    world.note(`${name} does not say what the store did`);
  installation.store.rewind(kind === "lost");
  world.restoredAt = world.clock.now();
  for (const { id, until } of world.bill)
    if (until !== null || world.servers.get(id)?.deleting) setAside(world, id);
  if (kind === "elsewhere") {
    world.records.clear();
    for (const [name, text] of then) world.records.set(name, asFromBackup(text));
  }
  installation.watch = new Watch(world, installation.store);
  installation.watch.follow(auditRowsOf());
  installation.store.onWritten = (rows) => installation.watch.wrote(rows);
  world.note(kind === "lost" ? "the store is lost" : `an older store comes back, ${kind}`);
  installation.store.enterQuarantine(`a rescue: ${kind}`, { actor });
  for (const { name, held } of story.store.machines({ live: true }))
    if (held === null) world.violate("quarantine", `${name} came back and is not held`);
  const before = watchQuarantine(story, () => story.daemon === stopped, rows);
  await lookAndRelease(story, onSomeReleased);
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
  const began = world.clock.now();
  world.onMade = (server, askedAt) => {
    if (!isOver() || !rows.has(server.name)) onMade(server, askedAt);
    const row = store.machines().find(({ name }) => name === server.name);
    if (!isOver() && askedAt >= began && store.quarantine() && row?.held !== null)
      world.violate("quarantine", `${server.name} is bought`);
  };
  world.onDelete = (server) => {
    onDelete(server);
    if (isOver()) setAside(world, server.id);
    const row = store.machines().find(({ name }) => name === server.name);
    if (!isOver() && row?.held !== null)
      world.violate("quarantine", `${server.name} is deleted before anybody released it`);
  };
  return () => Object.assign(world, { onMade, onDelete });
}

/** A row of before its server was bought cannot know that it was, and is gone again: it may be built once more. */
function setAside({ bill }: World, id: number): void {
  for (const line of bill) if (line.id === id) line.name += ", before the store came back";
}

/** As docs/recovery.md says: look again while something is doubtful, release what is sure, then each by its name. */
async function lookAndRelease(story: Story, onSomeReleased: (() => void) | null): Promise<void> {
  const { world, store } = story;
  let beforeAll = onSomeReleased;
  const pause = () => world.clock.delay(world.chance.between(0.5, 8) * minute);
  for (let looks = 0; store.quarantine(); ) {
    await pause();
    const status = await story.ask(async ({ recovery }) => recovery.status());
    if (!status || status.answer.inspectedAt === null) continue;
    if (status.answer.machines.some(({ sure }) => !sure) && looks++ < 3) {
      await story.ask(({ recovery }) => recovery.look(actor));
      continue;
    }
    if (beforeAll) {
      await releaseSome(story, status.answer);
      beforeAll();
      beforeAll = null;
      continue;
    }
    await story.ask(async ({ recovery }) => recovery.release({ machine: null, ...asItIs }));
  }
  for (;;) {
    const [machine] = store.machines({ live: true }).filter(({ held }) => held !== null);
    if (!machine) return;
    await pause();
    world.note(`the operator decides about ${machine.name}, ${machine.state}: ${machine.held}`);
    // The customer is asked: what a hand-over has done may be written down nowhere, and the machine does not answer.
    const isServed = [...world.servers.values()].some(
      ({ name, machine: inside }) => name === machine.name && inside.done?.order === machine.order,
    );
    const begun = machine.state === "claimed" || machine.state === "handing-over";
    const request = {
      machine: machine.name,
      retire: machine.order === null,
      serves: begun && isServed,
      actor,
    };
    const isSilent = /does not answer|its keys are lost/.test(machine.held ?? "");
    if (request.retire && isSilent && !isLabelled(world, machine.name)) world.retired.add(machine.name);
    await story.ask(async ({ recovery }) => recovery.release(request));
  }
}

/** About half of those that are sure, each by its name. */
async function releaseSome(story: Story, { machines }: RecoveryStatus): Promise<void> {
  for (const { name } of machines.filter(({ sure }) => sure)) {
    if (!story.world.chance.happens(0.5)) continue;
    await story.ask(async ({ recovery }) => recovery.release({ machine: name, ...asItIs }));
  }
}

/** Otherwise its label tells a person, too, whose it is. */
const isLabelled = ({ servers }: World, name: string): boolean =>
  [...servers.values()].some(
    (server) => server.name === name && server.labels["clawpool-order"] !== undefined,
  );

/** A shutdown that a store had asked for before it was lost leaves a served machine off: a person is told, and switches it on. */
export async function watchPower({ world, store }: Story): Promise<never> {
  const chance = new Chance(world.seed ^ 0x0ff);
  for (;;) {
    await world.clock.delay(chance.between(5, 30) * minute);
    const told = new Set(
      store.flags().flatMap(({ kind, subject }) => (kind === "server-off" ? [subject] : [])),
    );
    for (const server of world.servers.values()) {
      if (!server.off || !told.has(server.name)) continue;
      world.note(`the operator switches ${server.name} on`);
      server.off = false;
      server.bootedAt = world.clock.now() + chance.between(8_000, 40_000);
    }
  }
}
