/** A folder with terraform in it, on the provider of the mirror and any API. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { type Diagnostic, parseLog } from "../../../pool/terraform/json-log.ts";
import { ensureProviderMirror, type ProviderMirror, providerVersion } from "./mirror.ts";

export const providerSource = "registry.terraform.io/hetznercloud/hcloud";

/** What a `terraform … -json` told. */
export interface Told {
  readonly exitCode: number;
  readonly diagnostics: readonly Diagnostic[];
  /** `<action> <address>` of the plan, sorted. */
  readonly changes: readonly string[];
  /** All of it, for messages. */
  readonly text: string;
}

export interface TerraformFolder {
  readonly dir: string;
  /** True when the mirror is one that the environment names. */
  readonly realProvider: boolean;
  /** Replaces the configuration; provider and its version are added to it. */
  configure(configuration: object): Promise<void>;
  /** Any command; plain result. */
  run(
    args: readonly string[],
    how?: RunOptions,
  ): Promise<{ exitCode: number; stdout: string; stderr: string }>;
  /** A command that knows `-json`. */
  tell(args: readonly string[], how?: RunOptions): Promise<Told>;
  readState(): Promise<State>;
  close(): Promise<void>;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Terraform gets a SIGINT, as from Ctrl-C, when this resolves. */
  readonly interrupt?: Promise<void>;
}

export interface State {
  readonly resources: readonly {
    readonly mode: "managed" | "data";
    readonly type: string;
    readonly name: string;
    readonly instances: readonly {
      readonly index_key?: number | string;
      readonly status?: string;
      readonly attributes: Readonly<Record<string, unknown>>;
    }[];
  }[];
}

export const token = "0123456789abcdef".repeat(4);

/** Opens a folder and runs `terraform init` in it. `endpoint` ends in /v1. */
export async function openTerraformFolder(
  endpoint: string,
  configuration: object = {},
): Promise<TerraformFolder> {
  const mirror = await ensureProviderMirror();
  const dir = await mkdtemp(join(tmpdir(), "clawpool-provider-"));
  const folder = terraformFolder(mirror, dir, endpoint);
  await folder.configure(configuration);
  const { exitCode, stdout, stderr } = await folder.run(["init", "-input=false"]);
  if (exitCode === 0) return folder;
  await folder.close();
  throw new Error(`terraform init: ${stdout}${stderr}`);
}

function terraformFolder(mirror: ProviderMirror, dir: string, endpoint: string): TerraformFolder {
  const run: TerraformFolder["run"] = async (args, { env = {}, interrupt } = {}) => {
    const running = execa("terraform", args, {
      cwd: dir,
      reject: false,
      extendEnv: false,
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        TF_CLI_CONFIG_FILE: mirror.cliConfigFile,
        HCLOUD_TOKEN: token,
        HCLOUD_ENDPOINT: endpoint,
        // The real provider does not know this and takes its time between tries.
        HCLOUD_STANDIN_RETRY_INTERVAL: "20ms",
        ...env,
      },
    });
    interrupt?.then(() => running.kill("SIGINT"));
    const { exitCode = 1, stdout, stderr } = await running;
    return { exitCode, stdout, stderr };
  };
  return {
    dir,
    realProvider: mirror.real,
    run,
    configure: (configuration) =>
      writeFile(
        join(dir, "main.tf.json"),
        JSON.stringify({
          terraform: {
            required_providers: {
              hcloud: { source: "hetznercloud/hcloud", version: `= ${providerVersion}` },
            },
          },
          provider: { hcloud: { poll_function: "constant", poll_interval: "10ms" } },
          ...configuration,
        }),
      ),
    tell: async (args, how) => {
      const { exitCode, stdout, stderr } = await run([...args, "-json", "-input=false"], how);
      const lines = parseLog(stdout);
      return {
        exitCode,
        diagnostics: lines.flatMap((line) => (line.type === "diagnostic" ? [line.diagnostic] : [])),
        changes: lines
          .flatMap((line) =>
            line.type === "planned_change" ? [`${line.change.action} ${line.change.address}`] : [],
          )
          .sort(),
        text: stdout + stderr,
      };
    },
    readState: async () => JSON.parse(await readFile(join(dir, "terraform.tfstate"), "utf8")) as State,
    close: () => rm(dir, { recursive: true, force: true }),
  };
}
