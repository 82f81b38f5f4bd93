/** Notes the configuration that a daemon starts with, when it is not the one that was in force last. */
import type { Store } from "../store/store.ts";
import { configChange } from "./changes.ts";
import { type ConfigSource, fileOf } from "./load.ts";

export function noteStart(store: Pick<Store, "lastConfig" | "recordConfig">, source: ConfigSource): void {
  const last = store.lastConfig();
  const before = last && fileOf(last.written);
  const change = before ? configChange(before, source.file) : { before: {}, after: {} };
  const why = last ? "started with another file than the last daemon had" : "started for the first time";
  store.recordConfig({ actor: "daemon", how: "start", written: source.written, change }, { why });
}
