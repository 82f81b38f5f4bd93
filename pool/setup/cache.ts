/**
 * The user's cache folder, keyed by content: what costs minutes to build (a Python environment, a Debian root,
 * Go programs) is built once for each distinct recipe and found again by every clone and every run.
 */
import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/** `$CLAWPOOL_CACHE`, else `$XDG_CACHE_HOME/clawpool`, else `~/.cache/clawpool`. */
export function cacheRoot(): string {
  return (
    process.env.CLAWPOOL_CACHE ?? join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "clawpool")
  );
}

/** SHA-256 over the given texts, each with its length, as 16 hex digits. */
export function recipeKey(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex").slice(0, 16);
}

export interface CacheEntry {
  readonly dir: string;
  /** True when this call built it. */
  readonly built: boolean;
}

/**
 * The folder of `<name>-<key>`, built by `build(dir)` if it is not there. The build works in a folder of its own
 * which is renamed when it is whole, so a killed build leaves nothing that looks finished. Of several processes
 * that want the same entry one builds and the others wait for it.
 *
 * @throws whatever `build` throws; the half-made folder is removed.
 */
export async function cached(
  name: string,
  key: string,
  build: (dir: string) => Promise<void>,
  onWait?: (dir: string) => void,
): Promise<CacheEntry> {
  const root = cacheRoot();
  const dir = join(root, `${name}-${key}`);
  await mkdir(root, { recursive: true });
  if (await exists(dir)) return { dir, built: false };
  const release = await lock(join(root, `${name}-${key}.lock`), () => onWait?.(dir));
  try {
    if (await exists(dir)) return { dir, built: false };
    const draft = `${dir}.draft-${process.pid}`;
    await removeDrafts(root, `${name}-${key}.draft-`);
    await mkdir(draft, { recursive: true });
    try {
      await build(draft);
      await rename(draft, dir);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      throw error;
    }
    return { dir, built: true };
  } finally {
    await release();
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** We hold the lock, so whoever made these drafts is dead. */
async function removeDrafts(root: string, prefix: string): Promise<void> {
  for (const entry of await readdir(root)) {
    if (entry.startsWith(prefix)) await rm(join(root, entry), { recursive: true, force: true });
  }
}

const refreshMs = 5_000;
const staleMs = 30_000;

/**
 * A lock file whose holder renews its time every 5 s; one that was not renewed for 30 s belongs to a dead process
 * (Node has no flock). Resolves with the function that releases it.
 */
async function lock(path: string, onWait: () => void): Promise<() => Promise<void>> {
  let told = false;
  for (;;) {
    try {
      const handle = await open(path, "wx");
      await handle.writeFile(String(process.pid));
      await handle.close();
      const timer = setInterval(() => {
        const now = new Date();
        utimes(path, now, now).catch(() => {});
      }, refreshMs);
      return async () => {
        clearInterval(timer);
        await rm(path, { force: true });
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    if (await isStale(path)) {
      await rm(path, { force: true });
      continue;
    }
    if (!told) onWait();
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function isStale(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => null);
  if (!info) return false;
  if (Date.now() - info.mtimeMs > staleMs) return true;
  const pid = Number(await readFile(path, "utf8").catch(() => ""));
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
