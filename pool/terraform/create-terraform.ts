/** The daemon's Terraform: one folder a stack, one run at a time in each. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, systemClock } from "../clock.ts";
import { BorderError } from "../errors.ts";
import { terraformError } from "./errors.ts";
import { isStackName, platformName, stackFolder, stateFileOf } from "./folders.ts";
import type { LogLine, PlannedResource } from "./json-log.ts";
import { serverAddress } from "./machine-stack.ts";
import { guardPlan } from "./plan-guard.ts";
import { platformAddresses } from "./platform-stack.ts";
import { archiveFolder, listFolders } from "./put-away.ts";
import { leftoverIn, logFileOf, type Outcome, runTerraform, untilGone } from "./run.ts";

import {
  adoptErrored,
  readControllerPublicKey,
  readPlatformIds,
  readState,
  setAside,
  writeState,
} from "./state-file.ts";

import { synthMachine, synthPlatform } from "./synth.ts";
import type { Access, ResourceChange, RunResult, Terraform } from "./terraform.ts";

export interface TerraformOptions {
  /** Absolute; holds `machines/<name>`, `platform` and `archive`. */
  readonly root: string;
  /** Name or path of the terraform program. */
  readonly bin: string;
  /** For TF_CLI_CONFIG_FILE; null leaves terraform to its own default. */
  readonly cliConfig: string | null;
  readonly clock?: Clock;
  /** Sees each line of terraform's output as it is written, and nothing after the run's promise has resolved. */
  readonly onRun?: (event: { readonly stack: string; readonly run: string; readonly line: LogLine }) => void;
}

const init = ["init", "-json", "-no-color", "-input=false"];
// A person's `cdktf` may hold the state for a moment.
const common = ["-json", "-input=false", "-lock-timeout=60s"];
const planFile = "plan.bin";
const shownPlan = "plan.json";

export function createTerraform(options: TerraformOptions): Terraform {
  const { root, bin, cliConfig, onRun } = options;
  const clock = options.clock ?? systemClock;
  const queues = new Map<string, Promise<unknown>>();

  /** One after the other in a folder, behind whatever an earlier daemon left running there. */
  function inTurn<T>(name: string, work: (folder: string) => Promise<T>): Promise<T> {
    const folder = stackFolder(root, name);
    const before = queues.get(name) ?? Promise.resolve();
    const turn = before
      .catch(() => {})
      .then(async () => {
        const leftover = await leftoverIn(folder);
        if (leftover) await untilGone(folder, leftover, clock);
        return work(folder);
      });
    queues.set(name, turn);
    const forget = () => {
      if (queues.get(name) === turn) queues.delete(name);
    };
    turn.then(forget, forget);
    return turn;
  }

  /** Runs the commands in order until one fails; `check` sees what was printed so far before the next begins. */
  async function commands(
    name: string,
    folder: string,
    access: Access,
    list: readonly (readonly string[])[],
    check?: (lines: readonly LogLine[], command: string | undefined) => void,
  ): Promise<RunResult> {
    const startedAt = clock.now();
    const run = `${new Date(startedAt).toISOString().replace(/[-:.]/g, "")}-${randomBytes(3).toString("hex")}`;
    const lines: LogLine[] = [];
    let last: Outcome = { exitCode: 0, lines: [] };
    for (const args of list) {
      const onLine = onRun && ((line: LogLine) => onRun({ stack: name, run, line }));
      const output = args[0] === "show" ? { output: join(folder, shownPlan) } : onLine ? { onLine } : {};
      last = await runTerraform({ bin, folder, run, access, cliConfig, ...output }, args);
      lines.push(...last.lines);
      if (last.exitCode !== 0) break;
      check?.(lines, args[0]);
    }
    return {
      run,
      ok: last.exitCode === 0,
      exitCode: last.exitCode,
      changes: changesIn(lines),
      errors: last.exitCode === 0 ? [] : errorsIn(last.lines),
      logFile: logFileOf(folder, run),
      startedAt,
      endedAt: clock.now(),
    };
  }

  const machineFolders = async (): Promise<string[]> =>
    (await readdir(join(root, "machines")).catch(() => [])).filter(isStackName);

  const apply = ["apply", "-auto-approve", ...common];

  return {
    applyMachine: (input, access, { guard } = {}) =>
      inTurn(input.name, async (folder) => {
        await synthMachine(root, input);
        if (guard === undefined) return commands(input.name, folder, access, [init, apply]);
        try {
          const plan = ["plan", `-out=${planFile}`, ...common];
          const show = ["show", "-json", "-no-color", planFile];
          const applyPlan = [...apply.filter((arg) => arg !== "-auto-approve"), planFile];
          return await commands(
            input.name,
            folder,
            access,
            [init, plan, show, applyPlan],
            (lines, command) => {
              if (command === "show") guardPlan({ name: input.name, serverId: guard }, planIn(lines));
            },
          );
        } finally {
          await rm(join(folder, planFile), { force: true });
        }
      }),

    destroyMachine: (name, access) =>
      inTurn(name, async (folder) => {
        if (!(await exists(folder))) {
          throw new BorderError(`machine ${name} has no terraform folder`, {
            border: "terraform",
            kind: "permanent",
            code: "no-stack",
          });
        }
        return commands(name, folder, access, [init, ["destroy", "-auto-approve", ...common]]);
      }),

    untaintServer: (name, access) =>
      inTurn(name, (folder) =>
        commands(name, folder, access, [init, ["untaint", "-no-color", "-lock-timeout=60s", serverAddress]]),
      ),

    applyPlatform: (input, access) =>
      inTurn(platformName, async (folder) => {
        await synthPlatform(root, input);
        const result = await commands(platformName, folder, access, [init, apply]);
        if (!result.ok) throw terraformError(result);
        return { result, ids: await readPlatformIds(folder) };
      }),

    importServer: (input, serverId, access) =>
      inTurn(input.name, async (folder) => {
        await synthMachine(root, input);
        const flags = ["-input=false", "-no-color", "-lock-timeout=60s"];
        return commands(input.name, folder, access, [
          init,
          ["import", ...flags, serverAddress, String(serverId)],
        ]);
      }),

    importPlatform: (input, ids, access) =>
      inTurn(platformName, async (folder) => {
        await synthPlatform(root, input);
        const flags = ["-input=false", "-no-color", "-lock-timeout=60s"];
        const imports = platformAddresses(input, ids).map((pair) => ["import", ...flags, ...pair]);
        return commands(platformName, folder, access, [init, ...imports]);
      }),

    // In turn, so that nobody takes what a run has written so far for its result.
    state: (name) =>
      inTurn(name, async (folder) => {
        await adoptErrored(folder, clock.now());
        return readState(folder);
      }),

    stateFile: (name) => stateFileOf(stackFolder(root, name)),

    replaceState: (name, text) =>
      inTurn(name, async (folder) => {
        await setAside(folder, clock.now());
        if (text !== null) await writeState(folder, text);
      }),

    folders: machineFolders,

    async platform() {
      const folder = stackFolder(root, platformName);
      try {
        return {
          ids: await readPlatformIds(folder),
          controllerPublicKey: await readControllerPublicKey(folder),
        };
      } catch (error) {
        if (error instanceof BorderError && error.code === "no-platform") return null;
        throw error;
      }
    },

    forget: (name) =>
      inTurn(name, async (folder) => {
        const state = await readState(folder);
        if (state && state.resources > 0) {
          throw new BorderError(`machine ${name}: terraform's state still has ${state.resources} resources`, {
            border: "terraform",
            kind: "permanent",
            code: "state-not-empty",
          });
        }
        if (await exists(join(folder, "runs"))) {
          const archive = join(root, "archive");
          await mkdir(archive, { recursive: true, mode: 0o700 });
          await rename(join(folder, "runs"), join(archive, name)).catch(async (error) => {
            if ((error as NodeJS.ErrnoException).code !== "ENOTEMPTY") throw error;
            await rename(join(folder, "runs"), join(archive, `${name}-${clock.now()}`));
          });
        }
        await rm(folder, { recursive: true, force: true });
      }),

    survey: () =>
      listFolders(
        root,
        async (name) => queues.has(name) || (await leftoverIn(stackFolder(root, name))) !== null,
      ),

    archive: (name) => inTurn(name, () => archiveFolder(root, name, clock.now())),

    leftovers: async () => {
      const machines = await machineFolders();
      const found: { name: string; ended: Promise<void> }[] = [];
      for (const name of [platformName, ...machines]) {
        const folder = stackFolder(root, name);
        const leftover = await leftoverIn(folder);
        if (leftover) found.push({ name, ended: untilGone(folder, leftover, clock) });
      }
      return found;
    },
  };
}

/** The plan that `show` printed last. */
function planIn(lines: readonly LogLine[]): readonly PlannedResource[] | null {
  const shown = lines.findLast((line) => line.type === "plan");
  return shown?.type === "plan" ? shown.resources : null;
}

/** The plan's changes; an apply of a plan file prints them a second time. */
function changesIn(lines: readonly LogLine[]): ResourceChange[] {
  const changes = lines.flatMap((line) => (line.type === "planned_change" ? [line.change] : []));
  return [...new Map(changes.map((change) => [change.address, change])).values()];
}

/** The error diagnostics; where terraform printed none, what it printed as plain text. */
function errorsIn(lines: readonly LogLine[]): RunResult["errors"] {
  const errors = lines.flatMap((line) =>
    line.type === "diagnostic" && line.diagnostic.severity === "error" ? [line.diagnostic] : [],
  );
  if (errors.length > 0) return errors.map(({ summary, detail, address }) => ({ summary, detail, address }));
  const text = lines.flatMap((line) => (line.type === "text" ? [line.text] : []));
  return text.length > 0 ? [{ summary: text.join("\n"), detail: "", address: null }] : [];
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
