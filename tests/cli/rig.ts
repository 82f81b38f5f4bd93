/** `clawpool …` as an operator runs it: a process of its own, with a config and state folder of its own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { AdminOptions } from "../../api/admin.ts";
import { adminWith } from "../api/admin-with.ts";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import { example, env as exampleEnv } from "../config/example.ts";

export interface CliRig {
  readonly dir: string;
  readonly configFile: string;
  readonly stateDir: string;
  /** What the configuration's secrets refer to. */
  readonly env: Record<string, string>;
  /** Writes the example's configuration with these replacements of text. */
  configure(...replacements: readonly (readonly [string, string])[]): void;
  run(...args: string[]): Promise<{ stdout: string; stderr: string; exitCode: number | undefined }>;
  remove(): void;
}

export function makeCliRig(): CliRig {
  const dir = mkdtempSync(join(tmpdir(), "clawpool-cli-"));
  const configFile = join(dir, "clawpool.yaml");
  const stateDir = join(dir, "state");
  const env: Record<string, string> = { ...exampleEnv };
  return {
    dir,
    configFile,
    stateDir,
    env,
    configure(...replacements) {
      const text = replacements.reduce(
        (before, [from, to]) => {
          if (!before.includes(from)) throw new Error(`the example has no ${from}`);
          return before.replace(from, to);
        },
        example.replace("/tmp/clawpool-test", stateDir),
      );
      writeFileSync(configFile, text);
    },
    async run(...args) {
      const { stdout, stderr, exitCode } = await execa(process.execPath, clawpoolArgs(configFile, ...args), {
        cwd: dir,
        reject: false,
        stdin: "ignore",
        extendEnv: false,
        env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      });
      return { stdout, stderr, exitCode };
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

export interface AnsweredRig extends CliRig {
  /** The socket is gone, as when the daemon does not run. */
  hangUp(): Promise<void>;
}

/** With the example's configuration, and the daemon's socket with these parts behind it. */
export async function answeredRig(
  parts: Partial<AdminOptions> & Pick<AdminOptions, "store">,
): Promise<AnsweredRig> {
  const rig = makeCliRig();
  rig.configure();
  mkdirSync(rig.stateDir);
  const socket = await adminWith({ ...parts, stateDir: rig.stateDir }).listen();
  let hungUp: Promise<void> | null = null;
  return {
    ...rig,
    hangUp: () => {
      hungUp ??= socket.close();
      return hungUp;
    },
  };
}
