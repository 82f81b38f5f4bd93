/**
 * `npx cdktf …` for people: the CDK's command line, with what clawpool must know and see to around it.
 *
 * With a running daemon the stacks are those of its live machines, the named ones are locked for the person, and
 * terraform gets the gate's endpoint and a token that is good for this command. Without one the person's own
 * HCLOUD_TOKEN is used, and the stacks come from the file that CLAWPOOL_STACKS names or from a reader of the store.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join, matchesGlob } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { PeopleGrant } from "../people/people.ts";
import { platformName } from "../terraform/folders.ts";
import { parseStackInputs, type ReadStackInputs, type StackInputs } from "../terraform/stack-inputs.ts";
import { askDaemon, NoDaemonError } from "./admin-client.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Commands that run main.ts; of these, those that also run terraform. Any other is the CLI's own affair. */
const synthesizing = ["list", "synth", "diff", "plan", "deploy", "apply", "destroy", "output"];
const running = ["diff", "plan", "deploy", "apply", "destroy", "output"];

/** Flags of those commands that take the next word as their value. */
const valued = [
  "-a",
  "--app",
  "-o",
  "--output",
  "--outputs-file",
  "--parallelism",
  "--terraform-parallelism",
  "--var",
  "--var-file",
  "--log-level",
];

export interface CdktfOptions {
  /** Lists the live machines when no daemon runs and CLAWPOOL_STACKS is not set. */
  readonly readStacks?: ReadStackInputs;
}

/**
 * Runs the command to its end, whatever that is.
 *
 * @returns the CLI's exit status; 1 when a signal ended it
 * @throws Error with a sentence for the person: the daemon works on a machine, no daemon and no token, no stacks
 */
export async function runCdktf(args: readonly string[], options: CdktfOptions = {}): Promise<number> {
  const command = args.find((arg) => !arg.startsWith("-")) ?? "";
  const helpOnly = args.some((arg) => arg === "--help" || arg === "-h" || arg === "--version");
  if (!synthesizing.includes(command) || helpOnly) return runCli(args, {});
  if (args.some((arg) => arg === "-o" || arg.startsWith("--output=") || arg === "--output")) {
    throw new Error(
      "--output is clawpool's own: each command gets a private folder, which is removed at its end",
    );
  }
  const settings = await readSettings();
  const patterns = stackPatterns(args, command);
  const session = await begin(command, patterns, settings, options);
  let exitCode: number | null = null;
  const folder = await mkdtemp(join(tmpdir(), "clawpool-cdktf-"));
  try {
    const stacksFile = join(folder, "stacks.json");
    await writeFile(stacksFile, JSON.stringify(session.inputs), { mode: 0o600 });
    // `terraform providers lock` asks the registry itself, past any mirror, and the file would go with the folder.
    const noLockFile = running.includes(command) ? ["--skip-provider-lock"] : [];
    exitCode = await runCli([...args, ...noLockFile, "--output", join(folder, "out")], {
      ...session.access,
      ...settings.terraform,
      CLAWPOOL_STACKS: stacksFile,
    });
    return exitCode;
  } finally {
    await rm(folder, { recursive: true, force: true });
    await session.end(exitCode);
  }
}

interface Session {
  readonly inputs: StackInputs;
  readonly access: Readonly<Record<string, string>>;
  end(exitCode: number | null): Promise<void>;
}

async function begin(
  command: string,
  patterns: readonly string[],
  settings: Settings,
  options: CdktfOptions,
): Promise<Session> {
  const ask = (stacks: readonly string[], name: string) =>
    askDaemon<PeopleGrant>(settings.stateDir, "POST", "/people/begin", {
      command: name,
      stacks,
      actor: `person:${userInfo().username}`,
    });
  const close = (grant: PeopleGrant, exitCode: number | null) =>
    askDaemon<unknown>(settings.stateDir, "POST", "/people/end", { id: grant.id, exitCode }).then(() => {});
  try {
    // First only the list: what a pattern means depends on which machines live.
    const listing = await ask([], "list");
    await close(listing, 0);
    if (!running.includes(command)) return { inputs: listing.stacks, access: {}, end: async () => {} };
    const grant = await ask(matching(listing.stacks, patterns), command);
    return {
      inputs: grant.stacks,
      access: { HCLOUD_ENDPOINT: grant.endpoint, HCLOUD_TOKEN: grant.token },
      // A daemon that went away meanwhile has dropped the lock with itself.
      end: (exitCode) => close(grant, exitCode).catch((error) => console.error(`clawpool: ${error.message}`)),
    };
  } catch (error) {
    if (!(error instanceof NoDaemonError)) throw error;
    return withoutDaemon(command, error, options);
  }
}

async function withoutDaemon(command: string, noDaemon: Error, options: CdktfOptions): Promise<Session> {
  const file = process.env.CLAWPOOL_STACKS;
  if (!file && !options.readStacks) {
    throw new Error(`${noDaemon.message}, or name a file with the stacks in CLAWPOOL_STACKS`);
  }
  if (running.includes(command) && !process.env.HCLOUD_TOKEN) {
    throw new Error(`${noDaemon.message}, or set HCLOUD_TOKEN to work without it`);
  }
  const inputs = file ? parseStackInputs(await readFile(file, "utf8")) : await options.readStacks?.();
  if (!inputs) throw new Error("no stacks");
  return { inputs, access: {}, end: async () => {} };
}

/** The words after the command that are neither flags nor flags' values. */
export function stackPatterns(args: readonly string[], command: string): string[] {
  const patterns: string[] = [];
  for (let index = args.indexOf(command) + 1; index < args.length; index++) {
    const arg = args[index] ?? "";
    if (valued.includes(arg)) index++;
    else if (!arg.startsWith("-")) patterns.push(arg);
  }
  return patterns;
}

/** The stacks that the CLI will work on. Without a pattern it takes the only one, and refuses when there are more. */
export function matching(inputs: StackInputs, patterns: readonly string[]): string[] {
  const names = [platformName, ...inputs.machines.map(({ name }) => name)];
  if (patterns.length === 0) return names.length === 1 ? names : [];
  return names.filter((name) => patterns.some((pattern) => name === pattern || matchesGlob(name, pattern)));
}

interface Settings {
  readonly stateDir: string;
  readonly terraform: Readonly<Record<string, string>>;
}

/**
 * Only the few keys that are needed here, so that the command works for somebody who does not have the secrets that
 * the whole configuration refers to.
 */
async function readSettings(): Promise<Settings> {
  const file = process.env.CLAWPOOL_CONFIG ?? "clawpool.yaml";
  const text = await readFile(file, "utf8").catch(() => "");
  const config = (parse(text) ?? {}) as {
    state_dir?: string;
    terraform?: { bin?: string; cli_config?: string | null };
  };
  return {
    stateDir: process.env.CLAWPOOL_STATE_DIR ?? config.state_dir ?? "/var/lib/clawpool",
    terraform: {
      ...(config.terraform?.bin ? { TERRAFORM_BINARY_NAME: config.terraform.bin } : {}),
      ...(config.terraform?.cli_config ? { TF_CLI_CONFIG_FILE: config.terraform.cli_config } : {}),
    },
  };
}

/** Runs cdktn-cli on this Node, in the terminal's foreground: it may ask for approval. */
async function runCli(args: readonly string[], extra: Readonly<Record<string, string>>): Promise<number> {
  // Ctrl-C goes to the CLI and terraform, which share the terminal with us; we stay to give the lock back.
  const stay = () => {};
  process.on("SIGINT", stay);
  try {
    return await new Promise<number>((resolve, reject) => {
      const child = spawn(
        process.execPath,
        [join(root, "node_modules/cdktn-cli/bundle/bin/cdktn.js"), ...args],
        {
          cwd: root,
          stdio: "inherit",
          env: {
            ...process.env,
            CHECKPOINT_DISABLE: "1",
            DISABLE_VERSION_CHECK: "1",
            // Two commands at once would share a plugin cache, which terraform does not support.
            CDKTF_DISABLE_PLUGIN_CACHE_ENV: "1",
            ...extra,
          },
        },
      );
      child.on("error", reject);
      child.on("exit", (code) => resolve(code ?? 1));
    });
  } finally {
    process.removeListener("SIGINT", stay);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await runCdktf(process.argv.slice(2));
  } catch (error) {
    console.error(`cdktf: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
