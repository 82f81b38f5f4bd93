/**
 * Terraform's folders against the store, both ways. A folder without a row is put away, not deleted, when its state holds
 * resources: it may be all that tells of a server. A row without a state is told; `clawpool state` makes it whole.
 */
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { SweepsConfig } from "../config/config.ts";
import { isLive, type MachineName, type MachineState } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";
import type { StackFolder, Terraform } from "../terraform/terraform.ts";
import { isDue, recall } from "./sightings.ts";
import { answered, onceMore, type Sweep, type SweepFinding, SweepStopped, toldOnly } from "./sweep.ts";
import { createTelling } from "./tell.ts";

/** States in which terraform has made the server and nothing destroys it yet. */
const madeStates: readonly MachineState[] = [
  "booting",
  "preparing",
  "proving",
  "ready",
  "claimed",
  "handing-over",
  "serving",
];

export const terraformFlags = { leftover: "terraform-orphan", missing: "terraform-missing" } as const;

export interface TerraformSweepOptions {
  readonly store: Store;
  readonly terraform: Pick<Terraform, "survey" | "forget" | "archive">;
  readonly clock: Clock;
  readonly config: () => { readonly sweeps: SweepsConfig };
  readonly log: Logger;
}

export function createTerraformSweep(options: TerraformSweepOptions): Sweep {
  const { store, terraform, clock, config, log } = options;

  return {
    async run({ dryRun, actor }, signal) {
      const findings: SweepFinding[] = [];
      const sightings = recall(store, "terraform", clock.now());
      const telling = createTelling(store, dryRun, actor);
      const folders = await answered(terraform.survey(), signal);
      // Read after the folders: what was made in between is known by now.
      const live = store.machines({ live: true });
      const names = new Set<string>(live.map(({ name }) => name));
      const now = clock.now();

      for (const folder of folders.filter(({ name }) => !names.has(name))) {
        const seen = sightings.see(`folder/${folder.name}`);
        const text = `folder ${folder.name} has no machine; ${described(folder)}`;
        const done = await putAway(folder);
        if (seen.confirmed !== null && folder.content !== "nothing")
          telling.tell(terraformFlags.leftover, folder.name, `${text}: ${done}`);
        findings.push({ kind: "leftover", subject: folder.name, text, done });

        async function putAway({ name, content, isRunning, changedAt }: StackFolder): Promise<string> {
          if (isRunning) return "not touched, terraform runs in it";
          if (changedAt < sightings.since) return "not touched, it is older than this database";
          if (!isDue(seen, config().sweeps.orphanGraceMs, now)) {
            return `put away if still there at ${new Date(seen.first + config().sweeps.orphanGraceMs).toISOString()}`;
          }
          const how = content === "nothing" ? "removed, its logs are kept" : "moved to terraform's archive";
          if (dryRun) return `would be ${how}`;
          // What became known in the meantime is somebody's.
          if (isLive(store.machine(name as MachineName))) return "not touched, it is a machine's now";
          sightings.ask(`folder/${name}`);
          const why = `no row knows it; ${described(folder)}`;
          try {
            const work =
              content === "nothing" ? terraform.forget(name).then(() => null) : terraform.archive(name);
            store.audit(actor, "sweep.folder", name, { why, how, to: await answered(work, signal) });
            return how;
          } catch (err) {
            if (err instanceof SweepStopped) throw err;
            log.warn({ folder: name, err }, "a terraform folder could not be put away");
            return `could not be put away: ${err instanceof Error ? err.message : err}`;
          }
        }
      }
      const usable = new Set(
        folders.filter(({ content }) => content === "resources").map(({ name }) => name),
      );
      for (const { name, state, order } of live.filter((machine) => madeStates.includes(machine.state))) {
        if (usable.has(name)) continue;
        const folder = folders.find((one) => one.name === name);
        if (folder?.isRunning) continue;
        const text = `${name} (${state}) has ${folder ? described(folder) : "no terraform folder"}`;
        const isSure = sightings.see(`missing/${name}`).confirmed !== null;
        const remedy = order
          ? `clawpool state restore ${name}, or: clawpool state import ${name}`
          : "it goes without terraform, by its id, when its time comes";
        if (isSure) telling.tell(terraformFlags.missing, name, `${text}; ${remedy}`);
        findings.push({ kind: "missing", subject: name, text, done: isSure ? toldOnly : onceMore });
      }
      if (!dryRun) sightings.keep();
      telling.takeBack(Object.values(terraformFlags), "a later look did not find it");
      const looked = `${folders.length} folders, ${live.length} machines`;
      return { sweep: "terraform", looked, findings, gaps: [] };
    },
  };
}

function described({ content, resources }: StackFolder): string {
  switch (content) {
    case "resources":
      return `a state with ${resources} resource${resources === 1 ? "" : "s"}`;
    case "unreadable":
      return "a state file that is none";
    case "cut-off":
      return "an empty state file: a run was cut off, and only the cloud knows what it made";
    case "nothing":
      return "no resources";
  }
}
