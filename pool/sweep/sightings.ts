/** What a sweep saw amiss, from look to look; kept in the store, so that a restart does not begin to count anew. */
import { z } from "zod";
import type { Store } from "../store/store.ts";

/** Two looks closer together than this are one: lists lag, and what is being made appears in one before the other. */
export const apartMs = 60_000;
/** How soon what was to be deleted and is still there is deleted again. */
const againMs = 5 * 60_000;

const sightingShape = z.object({
  /** Epoch ms. */
  first: z.number(),
  /** When it was seen again, at least a minute later (epoch ms); null before. */
  confirmed: z.number().nullable(),
  /** When its deletion was last begun (epoch ms). */
  asked: z.number().nullable(),
});
export type Sighting = z.output<typeof sightingShape>;

const memoryShape = z.record(z.string(), sightingShape);
type Memory = z.output<typeof memoryShape>;

/** The setting that holds when this database first compared anything (epoch ms). */
const sinceSetting = "sweep/since";

/** The memory of one look. Changes are kept by `keep`. */
export interface Sightings {
  /** When this database first compared anything (epoch ms): it cannot know the story of what is older. */
  readonly since: number;
  /** What earlier looks saw amiss. */
  readonly before: readonly string[];
  /** Notes that this was seen amiss now. */
  see(key: string): Sighting;
  /** Nobody could look: what was seen before stays as it was. */
  unsure(isMeant: (key: string) => boolean): void;
  /** Its deletion begins now. */
  ask(key: string): void;
  /** Forgets what was not seen, and writes the rest down. */
  keep(): void;
}

export function recall(store: Store, name: string, now: number): Sightings {
  const setting = `sweep/${name}`;
  const text = store.setting(setting);
  const before: Memory = text === null ? {} : memoryShape.parse(JSON.parse(text));
  const after = new Map<string, Sighting>();
  const write = (sightings: Memory) => {
    const memory = JSON.stringify(sightings);
    if (memory !== store.setting(setting)) store.putSetting(setting, memory);
  };
  // Written at once, and for all sweeps: what is made from now on has its story in this database, also when the daemon
  // dies before another sweep has had its first look.
  if (store.setting(sinceSetting) === null) store.putSetting(sinceSetting, String(now));
  return {
    since: Number(store.setting(sinceSetting)),
    before: Object.keys(before),
    see(key) {
      const old = after.get(key) ?? before[key] ?? { first: now, confirmed: null, asked: null };
      const seen = old.confirmed === null && now - old.first >= apartMs ? { ...old, confirmed: now } : old;
      after.set(key, seen);
      return seen;
    },
    unsure(isMeant) {
      for (const [key, old] of Object.entries(before))
        if (isMeant(key) && !after.has(key)) after.set(key, old);
    },
    ask(key) {
      const seen = after.get(key);
      if (seen) after.set(key, { ...seen, asked: now });
      // Before the deletion: a daemon that dies in it must not begin at once again.
      write({ ...before, ...Object.fromEntries(after) });
    },
    keep: () => write(Object.fromEntries(after)),
  };
}

/** Whether what was seen so may be deleted now, as far as time goes. */
export const isDue = ({ first, confirmed, asked }: Sighting, graceMs: number, now: number): boolean =>
  confirmed !== null && now - first >= graceMs && (asked === null || now - asked >= againMs);
