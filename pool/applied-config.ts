/** Notes which configuration is in force since when, by whom, and what its change means in machines and money. */
import type { Logger } from "pino";
import type { Clock } from "./clock.ts";
import { configChange } from "./config/changes.ts";
import { type ConfigSource, fileOf } from "./config/load.ts";
import type { ConfigListener } from "./config/watch.ts";
import type { Releasers } from "./releasers.ts";
import { effectOf, effectText, type PoolEffect } from "./sizing/background/effect.ts";
import { replayEffect } from "./sizing/background/effect-in-background.ts";
import type { Store } from "./store/store.ts";
import { storeFile } from "./store/store-file.ts";

/** Notes the one that a daemon starts with, when it is not the one that was in force last. */
export function noteStart(store: Pick<Store, "lastConfig" | "recordConfig">, source: ConfigSource): void {
  const last = store.lastConfig();
  const before = last && fileOf(last.written);
  const change = before ? configChange(before, source.file) : { before: {}, after: {} };
  const why = last ? "started with another file than the last daemon had" : "started for the first time";
  store.recordConfig({ actor: "daemon", how: "start", written: source.written, change }, { why });
}

interface Context {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Everything is to look at the new configuration now. */
  readonly poke: () => void;
}

/** For `watchConfig`: what is applied while the daemon runs. What own history says of it follows seconds later. */
export function noteChanges({ store, clock, log, poke }: Context, releasers: Releasers): ConfigListener {
  let stopLast = async (): Promise<void> => {};
  releasers.add("replay of a configuration", () => stopLast());
  return {
    applied({ before, source, change, actor, how }) {
      const effect = effectOf(before.config, source.config, store, null).map(effectText);
      if (effect.length > 0) log.info({ effect }, "what the new configuration means");
      const { written, path } = source;
      store.recordConfig({ actor, how, written, change }, { why: "the file was changed", effect });
      poke();
      if (effect.length === 0) return;
      const request = { storeFile: storeFile(source.config.stateDir), path, before: before.written };
      const replay = replayEffect({ ...request, after: written, now: clock.now() });
      // Of two changes within seconds only the last matters.
      void stopLast();
      stopLast = replay.stop;
      const tell = (effects: readonly PoolEffect[] | null): void => {
        const expected = (effects ?? []).filter((each) => each.before?.expected ?? each.after?.expected);
        if (expected.length === 0) return;
        const texts = expected.map(effectText);
        log.info({ effect: texts }, "what own history says of the new configuration");
        store.audit(actor, "config.expected", "configuration", { why: "own history was replayed", texts });
      };
      replay.told
        .then(tell)
        .catch((err) => log.warn({ err }, "own history could not be replayed for the new configuration"));
    },
    refused: (why) => store.audit("daemon", "config.refused", "configuration", { why }),
  };
}
