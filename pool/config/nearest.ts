/** What a misspelt word of clawpool.yaml was probably meant to be. */
import { closest, distance } from "fastest-levenshtein";

/** Null when none is near enough to have been meant. */
export function nearestTo(word: string, known: readonly string[]): string | null {
  const nearest = known.length === 0 ? null : closest(word, known as string[]);
  return nearest !== null && distance(word, nearest) <= 3 ? nearest : null;
}
