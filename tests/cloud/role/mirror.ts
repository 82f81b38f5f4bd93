/**
 * What the real role takes from package sources that a rig cannot count on (NodeSource, pkgs.tailscale.com), as a
 * folder in the cache that nspawn machines see at /opt/local-mirror:
 *
 *   node/                         Node with npm, as a NodeSource package would leave it below /usr
 *   npm-cache/                    npm's cache with OpenClaw and everything below it
 *   tailscale/{tailscale,tailscaled}   only if given
 */
import { copyFile, mkdir, rename, rm, stat, symlink } from "node:fs/promises";
import { arch } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { cached, recipeKey } from "../../../pool/setup/cache.ts";

/** Node and npm as they come from the npm registry; npm 11.16 is the oldest with `--allow-scripts`. */
const nodeVersion = "24.21.0";
const npmVersion = "11.19.1";
/** The version that prepare.yml installs unless told otherwise. */
export const openclawVersion = "2026.9.6";
/** Where machines see the folder. */
export const mirrorMount = "/opt/local-mirror";

export interface MirrorOptions {
  /** Paths of the built programs, from the Tailscale rig. */
  readonly tailscale?: { readonly tailscale: string; readonly tailscaled: string };
  readonly onProgress?: (message: string) => void;
}

/**
 * The folder to show to machines at `/opt/local-mirror`. About a minute the first time (OpenClaw is 95 MB packed),
 * milliseconds later.
 *
 * @throws Error with npm's own words when the npm registry cannot be reached.
 */
export async function ensureLocalMirror({
  tailscale,
  onProgress,
}: MirrorOptions = {}): Promise<{ dir: string }> {
  const programs = tailscale ? [tailscale.tailscale, tailscale.tailscaled] : [];
  const identities = await Promise.all(programs.map(async (path) => `${path}:${(await stat(path)).mtimeMs}`));
  const base = await cached(
    "mirror-npm",
    recipeKey(nodeVersion, npmVersion, openclawVersion, arch()),
    async (draft) => {
      onProgress?.(`fetching Node ${nodeVersion} and OpenClaw ${openclawVersion} from npm (about a minute)`);
      await fetchNode(draft);
      await warmNpmCache(draft);
    },
    () => onProgress?.("waiting for another process that fetches Node and OpenClaw"),
  );
  if (!tailscale) return { dir: base.dir };
  const { dir } = await cached("mirror", recipeKey(base.dir, ...identities), async (draft) => {
    // Hard links: the npm cache is 180 MB, and the same file system holds both entries.
    await execa("cp", ["-al", join(base.dir, "node"), join(base.dir, "npm-cache"), draft]);
    await mkdir(join(draft, "tailscale"));
    await copyFile(tailscale.tailscale, join(draft, "tailscale", "tailscale"));
    await copyFile(tailscale.tailscaled, join(draft, "tailscale", "tailscaled"));
  });
  return { dir };
}

async function fetchNode(dir: string): Promise<void> {
  const packages = join(dir, "packages");
  const node = `node-linux-${arch()}`;
  await mkdir(packages);
  await npm(
    "npm",
    [],
    ["install", "--prefix", packages, "--no-save", `${node}@${nodeVersion}`, `npm@${npmVersion}`],
  );
  await mkdir(join(dir, "node", "bin"), { recursive: true });
  await mkdir(join(dir, "node", "lib", "node_modules"), { recursive: true });
  await rename(join(packages, "node_modules", node, "bin", "node"), join(dir, "node", "bin", "node"));
  await rename(join(packages, "node_modules", "npm"), join(dir, "node", "lib", "node_modules", "npm"));
  for (const name of ["npm", "npx"]) {
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(dir, "node", "bin", name));
  }
  await rm(packages, { recursive: true });
}

/** Fills npm-cache with what `npm install openclaw` takes, by doing it once with the machine's own Node and npm. */
async function warmNpmCache(dir: string): Promise<void> {
  const scratch = join(dir, "scratch");
  await mkdir(scratch);
  await npm(
    join(dir, "node", "bin", "node"),
    [join(dir, "node", "lib", "node_modules", "npm", "bin", "npm-cli.js")],
    [
      ...["install", "--global", "--prefix", scratch, "--cache", join(dir, "npm-cache"), "--ignore-scripts"],
      `openclaw@${openclawVersion}`,
    ],
  );
  await rm(scratch, { recursive: true });
  await rm(join(dir, "npm-cache", "_logs"), { recursive: true, force: true });
}

async function npm(command: string, before: readonly string[], args: readonly string[]): Promise<void> {
  await execa(command, [...before, ...args, "--no-audit", "--no-fund", "--loglevel=error"], {
    stdin: "ignore",
    timeout: 600_000,
  });
}
