/** Of what a configuration's backups are, and where they go. */
import { join } from "node:path";
import { terraformRoot } from "../borders.ts";
import type { Config } from "../config/config.ts";
import type { BackupSource } from "./backup.ts";

export const backupSource = (config: Config): BackupSource => ({
  instance: config.instance,
  stateDir: config.stateDir,
  terraformRoot: terraformRoot(config),
});

/** @param at epoch ms */
export const backupName = (at: number): string =>
  `clawpool-${new Date(at).toISOString().replace(/[-:]|\.\d+/g, "")}.backup`;

/** Where backups by the clock go. */
export const backupFolder = ({ backup, stateDir }: Pick<Config, "backup" | "stateDir">): string =>
  backup.directory ?? join(stateDir, "backups");
