/** What is wrong with a key of clawpool.yaml, in an operator's words: what is wanted there, and what was probably meant. */
import type { z } from "zod";
import { knownKeys } from "./keys.ts";
import { nearestTo } from "./nearest.ts";

type Path = readonly PropertyKey[];

/** @param at the place of a path in the file: `line 3, column 5: ` */
export function explain(issue: z.core.$ZodIssue, at: (path: Path) => string): string[] {
  const say = (path: Path, text: string) => `${at(path)}${path.join(".") || "the file"}: ${text}`;
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) =>
        say([...issue.path, key], `unknown key${hint(key, knownKeys(issue.path))}`),
      );
    case "invalid_key":
      return [say(issue.path, issue.issues[0]?.message ?? issue.message)];
    case "invalid_type":
      // Where there is no key, its section is the place.
      return [
        say(
          issue.path,
          issue.message.replace(
            /^Invalid input: expected (.*), received undefined$/,
            "is missing; want a $1",
          ),
        ),
      ];
    default:
      return [say(issue.path, issue.message)];
  }
}

/** `; did you mean min_ready?`, or what there is when nothing is near. */
function hint(word: string, known: readonly string[]): string {
  const nearest = nearestTo(word, known);
  if (nearest !== null) return `; did you mean ${nearest}?`;
  return known.length === 0 ? "" : `; known: ${known.join(", ")}`;
}
