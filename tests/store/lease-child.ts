/**
 * A daemon's hold on the store, as a process of its own: waits for the lease of the folder in its first argument, says
 * "holds <term>", then writes a setting for each line that it is given and answers "wrote" or why not.
 */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock } from "../../pool/clock.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { leaseStore } from "../../pool/store/daemon-lease.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";

const [stateDir = "", endHung] = process.argv.slice(2);
const file = join(stateDir, "clawpool.sqlite");
/** A thirtieth of the time that it takes in earnest. */
const clock = {
  now: systemClock.now,
  delay: (ms: number, signal?: AbortSignal) => systemClock.delay(ms / 30, signal),
};
const say = (text: string) => process.stdout.write(`${text}\n`);
const log = { warn: (text: unknown) => say(String(text)) };
const lease = await leaseStore({ stateDir, clock, log, endHung: endHung === "end-hung" });
const fence = { term: lease.term, onFenced: () => say("fenced") };
const store = openSqliteStore({ file, sealer: createSealer([newSealingKey()]), fence });
say(`holds ${lease.term}`);
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "beat") return lease.keep(() => say("lost"));
  try {
    store.putSetting("writer", line);
    say("wrote");
  } catch (error) {
    say(error instanceof Error ? error.name : String(error));
  }
});
