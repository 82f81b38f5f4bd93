import { mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { systemClock } from "../clock.ts";
import { loadConfig } from "../config/load.ts";

/** `clawpool backup [--to FILE]` and `clawpool restore FILE`. */
export function registerBackup(program: Command): void {
  program
    .command("backup")
    .description("write a backup of the store, terraform's states and the sealed records, and read it again")
    .option("--to <file>", "where to (default: the folder of `backup.directory`, named by the time)")
    .action(async ({ to }: { to?: string }) => {
      const { makeBackup } = await import("../backup/backup.ts");
      const { backupFolder, backupName, backupSource } = await import("../backup/places.ts");
      const config = loadConfig(program.opts().config);
      const now = systemClock.now();
      const file = resolve(to ?? join(backupFolder(config), backupName(now)));
      if (to === undefined) mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      const { head, files, gaps, sealingKeys } = await makeBackup(backupSource(config), file, now);
      console.log(
        `${file}: audit log to row ${head?.seq ?? 0}, ${files.length} files beside it; read again, sound.`,
      );
      for (const gap of gaps) console.log(`Left out: ${gap}.`);
      console.log(
        `It opens with sealing key ${sealingKeys.join(", ") || "-"}, which is not in it: keep that elsewhere.`,
      );
    });

  program
    .command("restore")
    .description("bring a backup back, into quarantine; while no daemon runs")
    .argument("<file>")
    .option("--over-newer", "also over a store that has gone on since; it is kept beside")
    .option("--other-instance", "also when it is of an instance with another name")
    .action(async (file: string, options: { overNewer?: boolean; otherInstance?: boolean }) => {
      const { restoreBackup } = await import("../backup/restore.ts");
      const { manifest, replaced, files } = await restoreBackup(
        loadConfig(program.opts().config),
        resolve(file),
        {
          overNewer: options.overNewer ?? false,
          otherInstance: options.otherInstance ?? false,
          actor: `person:${userInfo().username}`,
          clock: systemClock,
        },
      );
      console.log(`Restored the store of ${new Date(manifest.takenAt).toISOString()}, in quarantine.`);
      if (replaced) console.log(`What was there is ${replaced} now.`);
      console.log(
        `${files.length} files beside it were missing and came back; those that exist stayed as they are.`,
      );
      console.log("Start the daemon; then `clawpool recover status` shows what it found (docs/recovery.md).");
    });
}
