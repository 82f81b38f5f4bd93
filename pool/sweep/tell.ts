/** Tells a person what a sweep found, and takes it back when it is over. */
import type { Store } from "../store/store.ts";

export interface Telling {
  tell(kind: string, subject: string, text: string): void;
  /** Flags of these kinds that were not told in this look are over, unless nobody could look. */
  takeBack(
    kinds: readonly string[],
    why: string,
    isUnsure?: (kind: string, subject: string) => boolean,
  ): void;
}

/** @param dryRun nothing is told */
export function createTelling(store: Store, dryRun: boolean, actor: string): Telling {
  const told = new Set<string>();
  return {
    tell(kind, subject, text) {
      told.add(`${kind} ${subject}`);
      if (!dryRun) store.flag(kind, subject, text);
    },
    takeBack(kinds, why, isUnsure = () => false) {
      if (dryRun) return;
      for (const { kind, subject } of store.flags()) {
        if (!kinds.includes(kind) || told.has(`${kind} ${subject}`) || isUnsure(kind, subject)) continue;
        store.clearFlag(kind, subject, why, { actor });
      }
    },
  };
}
