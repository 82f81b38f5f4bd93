// Plain JavaScript for any Node >= 18: it runs before anything is installed. It makes sure that the
// dependencies are there and hands the real program to the Node 24 that npm brought (package `node`),
// so that every command behaves the same whatever Node the machine has.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const node24 = join(root, "node_modules", "node", "bin", "node");
const stamp = join(root, "node_modules", ".clawpool-lock");

const lockDigest = () =>
  createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");

function npm(args) {
  const run = spawnSync("npm", args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (run.status === 0) return;
  const why = run.error?.message ?? `exit ${run.status}`;
  console.error(`clawpool: npm ${args[0]} failed (${why}); run it by hand in ${root}`);
  process.exit(1);
}

/** Installs the locked dependencies if they are missing or belong to another lock file. */
export function ensureDependencies() {
  const wanted = lockDigest();
  if (existsSync(node24) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  console.error("clawpool: installing dependencies (npm, about 40 s) …");
  // Not `npm ci`: it refuses a lock file that lacks optional packages of other platforms, which is what npm writes
  // where the registry does not offer them. `install --no-save` takes the locked versions and changes no file.
  //
  // Without install scripts: better-sqlite3 brings its binary in the package but would compile it all the same, which
  // needs a compiler and Node's headers from the network. Only the package `node` needs its script, to fetch Node.
  const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  npm(["install", "--no-save", "--ignore-scripts", ...quiet]);
  npm(["rebuild", "node", ...quiet]);
  writeFileSync(stamp, wanted);
}

/** Runs `args` on Node 24 in the caller's folder and ends with its exit status. */
export function runOnNode24(args) {
  const child = spawn(node24, ["--disable-warning=ExperimentalWarning", ...args], {
    stdio: "inherit",
    env: {
      ...process.env,
      PATH: `${dirname(node24)}:${join(root, "node_modules", ".bin")}:${process.env.PATH}`,
    },
  });
  // The child is in our process group, so Ctrl-C reaches it directly; a signal sent to us alone is passed on.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("exit", (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exit(code ?? 1);
  });
}
