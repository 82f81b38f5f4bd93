import { execa } from "execa";
import { ensureHcloudCli } from "./tools.ts";

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs hcloud with the given words. */
export type Cli = (...words: readonly string[]) => Promise<CliResult>;

/** apt takes a second to say what it has: asked once. */
let program: Promise<string> | null = null;

/** Debian's hcloud-cli for one project of an emulator, with an environment of its own: no context, no config file. */
export async function hcloudCli(access: { readonly endpoint: string; readonly token: string }): Promise<Cli> {
  program ??= ensureHcloudCli();
  const file = await program;
  return async (...words) => {
    const result = await execa(file, ["--poll-interval", "10ms", ...words], {
      reject: false,
      extendEnv: false,
      env: { HOME: "/nonexistent", HCLOUD_ENDPOINT: access.endpoint, HCLOUD_TOKEN: access.token },
      stdin: "ignore",
    });
    return { exitCode: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
  };
}
