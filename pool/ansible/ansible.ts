/**
 * ansible-playbook as the daemon uses it: one playbook, one host, a private folder with everything that must not be
 * seen, a process group of its own. Errors are BorderErrors of border `ansible`.
 */
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { BorderError, BorderErrorKind } from "../errors.ts";
import type { Secret } from "../secrets/secret.ts";
import { ansibleError, PlayEvents } from "./events.ts";
import { startPlaybook } from "./playbook.ts";
import { programText } from "./program.ts";
import { recipeOf } from "./recipe.ts";
import { makeRunFolder, sweepRunFolders } from "./run-folder.ts";

export interface PlaybookRun {
  /** Machine name: the inventory's only host. */
  readonly machine: string;
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly privateKey: Secret;
  readonly hostKey: string;
  /** Extra vars; strings are wrapped as unsafe so that no `{{…}}` in a value is evaluated. Secrets are exposed only
   *  into a file of mode 0600 that is removed when the run ends. */
  readonly vars: Readonly<Record<string, unknown>>;
  readonly secretVars: Readonly<Record<string, Secret>>;
  readonly timeoutMs: number;
  readonly onTask?: (task: { name: string; status: string; at: number }) => void;
}

export interface PlaybookResult {
  readonly run: string;
  readonly ok: boolean;
  /** Task that failed and what it said, without secrets. */
  readonly failure: PlaybookFailure | null;
  readonly tasks: readonly { name: string; seconds: number; status: string }[];
  readonly logFile: string;
  readonly seconds: number;
  /** What the playbook reported with set_stats as `clawpool_installed`: versions and hashes; empty if it failed. */
  readonly installed: Readonly<Record<string, string>>;
}

export interface PlaybookFailure {
  readonly task: string;
  readonly message: string;
  /** `transient` when a download or a name lookup failed; otherwise `permanent`: it needs a look or a new machine. */
  readonly kind: BorderErrorKind;
}

export interface Ansible {
  /** What a machine would be prepared by now: the `installed.recipe` that `prepare` would report. @throws Error of the file system */
  recipe(): Promise<string>;
  /**
   * `signal` aborts a run (machine's deadline): the process group is ended; ansible is safe to run again.
   *
   * @returns also when a task failed (`ok` false, `failure` says which).
   * @throws BorderError: `transient` with code `unreachable`, `timeout` or `aborted`; `auth` when sshd refuses our
   *   key; `permanent` with code `host_key` when the host key is not the pinned one, `playbook` when Ansible itself
   *   could not run.
   */
  prepare(run: PlaybookRun, signal?: AbortSignal): Promise<PlaybookResult>;
}

/** Read anew at each run: playbook and vars may be getters of a configuration that changes. */
export interface AnsibleOptions {
  /** Folder of ansible-playbook (pool/setup/venv.ts). */
  readonly bin: string;
  readonly playbook: string;
  /** For ANSIBLE_COLLECTIONS_PATH; the first folder that has a collection wins. */
  readonly collectionsPath: string;
  /** One log file a run, JSON lines, mode 0600, without secrets. */
  readonly logDir: string;
  /** Extra vars of every run; those of the run win. */
  readonly vars?: Readonly<Record<string, unknown>>;
}

export function createAnsible(options: AnsibleOptions): Ansible {
  let swept: Promise<void> | undefined;
  const recipe = async (program: string) =>
    recipeOf({ playbook: options.playbook, vars: options.vars ?? {}, program });
  return {
    recipe: async () => recipe(await programText()),
    async prepare(run, signal) {
      if (signal?.aborted) throw aborted(run.machine);
      swept ??= sweepRunFolders();
      await swept;
      const id = `${run.machine}-${new Date().toISOString().replace(/[-:.]/g, "")}-${randomBytes(2).toString("hex")}`;
      await mkdir(options.logDir, { recursive: true, mode: 0o700 });
      const logFile = join(options.logDir, `${id}.jsonl`);
      const startedAt = performance.now();
      const clawpool_program_text = await programText();
      const clawpool_recipe = await recipe(clawpool_program_text);
      const vars = { ...options.vars, ...run.vars, clawpool_recipe, clawpool_program_text };
      const folder = await makeRunFolder({ ...run, vars });
      try {
        const events = new PlayEvents(run.onTask);
        const end = await startPlaybook({
          options,
          folder,
          logFile,
          secrets: [run.privateKey, ...Object.values(run.secretVars)],
          timeoutMs: run.timeoutMs,
          signal,
          onLine: (line) => events.take(line),
        });
        if (end.stopped === "aborted") throw aborted(run.machine);
        if (end.stopped === "timeout") {
          throw ansibleError(
            "timeout",
            `${run.machine}: ansible-playbook took longer than ${run.timeoutMs} ms (in task "${events.current}")`,
          );
        }
        const seconds = (performance.now() - startedAt) / 1000;
        return { run: id, logFile, seconds, ...events.outcome(run.machine, end) };
      } finally {
        await folder.remove();
      }
    },
  };
}

const aborted = (machine: string): BorderError =>
  ansibleError("aborted", `${machine}: ansible-playbook was stopped`);
