/** Replays own history beside the daemon's work: it takes seconds, and a hand-over has half of one. */
import type { Releasers } from "../../releasers.ts";
import { inThread } from "../../thread.ts";
import type { Choice } from "../replay/choice.ts";
import type { ChoiceRequest } from "./choose-by-replay.ts";

/** @returns what replays in a thread of its own; one at a time, which ends with the daemon */
export function chooseInBackground(releasers: Releasers): (request: ChoiceRequest) => Promise<Choice | null> {
  let stop = async (): Promise<void> => {};
  releasers.add("replay for an asked share", () => stop());
  return (request) => {
    const run = inThread<Choice>(new URL("./choose-worker.ts", import.meta.url), request);
    stop = run.stop;
    return run.told;
  };
}
