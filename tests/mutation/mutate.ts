/** Applies mutations to copies of the tree, one after the other, and runs the tests that should notice. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutation } from "./mutation.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** `broken`: the mutated program cannot even be loaded, which proves nothing. */
export type Verdict = "caught" | "survived" | "broken";

export interface Tried {
  readonly mutation: Mutation;
  readonly verdict: Verdict;
  /** The first test that failed; null when none did. */
  readonly by: string | null;
  readonly seconds: number;
}

/** Why a mutation cannot be applied to the tree as it is; null when it can. */
export function objection({ id, file, before, after }: Mutation): string | null {
  let text: string;
  try {
    text = readFileSync(join(root, file), "utf8");
  } catch {
    return `${id}: there is no ${file}`;
  }
  const times = text.split(before).length - 1;
  if (times !== 1) return `${id}: in ${file} its text is there ${times} times: ${before}`;
  return before === after ? `${id}: changes nothing` : null;
}

export interface Copy {
  /** Without a mutation: whether the tests pass as things are. */
  tryOut(caughtBy: readonly string[], longestMs?: number): Promise<{ verdict: Verdict; by: string | null }>;
  tryMutation(mutation: Mutation): Promise<Tried>;
  remove(): void;
}

/** A copy of what git knows of the tree, as it is now, with the same node_modules. */
export function copyTree(): Copy {
  const dir = mkdtempSync(join(tmpdir(), "clawpool-mutate-"));
  const list = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  // What was deleted and not committed is still listed.
  for (const file of list.split("\0").filter((name) => name !== "" && existsSync(join(root, name)))) {
    mkdirSync(dirname(join(dir, file)), { recursive: true });
    cpSync(join(root, file), join(dir, file));
  }
  symlinkSync(join(root, "node_modules"), join(dir, "node_modules"));

  const tryOut = async (
    caughtBy: readonly string[],
    longestMs = 300_000,
  ): Promise<{ verdict: Verdict; by: string | null }> => {
    const tests = caughtBy.filter((name) => name !== "sim").map((name) => `tests/${name}`);
    const runs: (() => Promise<Ended>)[] = [];
    if (tests.length > 0) runs.push(() => run(dir, ["tests/run.ts", ...tests], longestMs));
    if (caughtBy.includes("sim"))
      runs.push(() => run(dir, ["tests/sim/main.ts", "--seeds", "60"], longestMs));
    for (const start of runs) {
      const { failed, finished, text } = await start();
      if (failed !== null) return { verdict: "caught", by: failed };
      if (!finished) return { verdict: "broken", by: text.split("\n").slice(-12).join("\n") };
    }
    return { verdict: "survived", by: null };
  };

  return {
    tryOut,
    async tryMutation(mutation) {
      const started = performance.now();
      const why = objection(mutation);
      if (why !== null) return { mutation, verdict: "broken", by: why, seconds: 0 };
      const file = join(dir, mutation.file);
      const text = readFileSync(file, "utf8");
      writeFileSync(
        file,
        text.replace(mutation.before, () => mutation.after),
      );
      try {
        const { verdict, by } = await tryOut(mutation.caughtBy);
        return { mutation, verdict, by, seconds: (performance.now() - started) / 1_000 };
      } finally {
        writeFileSync(file, text);
      }
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

interface Ended {
  readonly failed: string | null;
  readonly finished: boolean;
  readonly text: string;
}

/** How mocha's spec reporter tells of a failure as it happens, and how the simulation does. */
const failure = /^ +\d+\) (?<test>.+)$|(?<violation>VIOLATION .+)$/m;

/** Ends the run at its first failure, and after `longestMs`: a mutation can make a test wait for ever. */
function run(cwd: string, args: readonly string[], longestMs: number): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", ...args], {
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let text = "";
    let failed: string | null = null;
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    };
    const late = setTimeout(() => {
      failed ??= `nothing ended within ${longestMs / 1_000} s`;
      end();
    }, longestMs);
    const hear = (chunk: string) => {
      text += chunk;
      const { test, violation } = failure.exec(text)?.groups ?? {};
      if (failed !== null || (test ?? violation) === undefined) return;
      failed = test ?? violation ?? "";
      end();
    };
    child.stdout?.setEncoding("utf8").on("data", hear);
    child.stderr?.setEncoding("utf8").on("data", hear);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(late);
      resolve({ failed, finished: code === 0, text });
    });
  });
}
