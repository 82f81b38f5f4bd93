/** Python environments, of which one has ansible-core, and the collections: made by set-up, kept in the user's cache. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ExecaError, execa } from "execa";
import { cached, cacheRoot, recipeKey } from "./cache.ts";

const requirements = fileURLToPath(new URL("../../ansible/requirements.txt", import.meta.url));

/** ansible-core 2.19 runs on these (its `requires-python`, and the newest it was released for), and all else here. */
const oldestPython: readonly [number, number] = [3, 11];

export interface SetupOptions {
  /** Told in plain words what takes time. */
  readonly onProgress?: (message: string) => void;
}

/**
 * ansible-core at the versions and hashes of ansible/requirements.txt, in a virtual environment in the cache.
 * About 20 s the first time, milliseconds later.
 *
 * @returns `bin`, the folder of ansible-playbook and ansible-galaxy.
 * @throws Error that names what is missing and how to get it (Python 3.11, the venv module, a package index).
 */
export async function ensureAnsible({ onProgress }: SetupOptions = {}): Promise<{ bin: string }> {
  return ensureVenv({ name: "ansible", title: "ansible-core", requirements, onProgress });
}

/**
 * The packages of a requirements file with hashes, in a virtual environment in the cache.
 *
 * @param name of the cache entry; `title` is for people
 * @returns `bin`, the folder of its python and of the packages' programs.
 * @throws Error that names what is missing and how to get it (Python 3.11, the venv module, a package index).
 */
export async function ensureVenv({
  name,
  title,
  requirements,
  onProgress,
}: SetupOptions & { readonly name: string; readonly title: string; readonly requirements: string }): Promise<{
  bin: string;
}> {
  const python = process.env.CLAWPOOL_PYTHON ?? "python3";
  const version = await pythonVersion(python, title);
  const pins = await readFile(requirements, "utf8");
  const key = recipeKey(pins, version.text, version.executable);
  const { dir } = await cached(
    name,
    key,
    async (draft) => {
      onProgress?.(`installing ${title} into a virtual environment (about 20 s)`);
      await makeVenv(python, draft, onProgress);
      await run(
        join(draft, "bin", "python"),
        ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r", requirements],
        `pip could not install ${requirements}: is a Python package index reachable?`,
      );
      await pointScriptsTo(join(cacheRoot(), `${name}-${key}`), draft);
    },
    () => onProgress?.(`waiting for another process that installs ${title}`),
  );
  return { bin: join(dir, "bin") };
}

/**
 * The collections of a requirements file, installed with ansible-galaxy into the cache.
 *
 * @param bin folder of ansible-galaxy, from ensureAnsible
 * @returns `path`, one entry for ANSIBLE_COLLECTIONS_PATH.
 * @throws Error with ansible-galaxy's own words when GitHub or Galaxy cannot be reached; nothing is left then.
 */
export async function ensureCollections({
  requirementsFile,
  bin,
  onProgress,
}: SetupOptions & { readonly requirementsFile: string; readonly bin: string }): Promise<{ path: string }> {
  const wanted = await readFile(requirementsFile, "utf8");
  const { dir } = await cached("collections", recipeKey(wanted), async (draft) => {
    onProgress?.("installing the Ansible collections (from github.com and galaxy.ansible.com)");
    await run(
      join(bin, "ansible-galaxy"),
      ["collection", "install", "-r", requirementsFile, "-p", draft],
      `ansible-galaxy could not install ${requirementsFile}: are github.com and galaxy.ansible.com reachable, and is git installed?`,
    );
  });
  return { path: dir };
}

async function pythonVersion(python: string, title: string): Promise<{ text: string; executable: string }> {
  const script = "import sys; print(*sys.version_info[:3], sys.executable)";
  const { stdout } = await execa(python, ["-c", script]).catch((error: unknown) => {
    throw new Error(
      `${python} does not run: install Python 3.11 or newer (Debian: apt install python3 python3-venv)`,
      {
        cause: error,
      },
    );
  });
  const [major = "0", minor = "0", patch = "0", ...executable] = stdout.trim().split(" ");
  if (Number(major) !== oldestPython[0] || Number(minor) < oldestPython[1]) {
    throw new Error(
      `${python} is ${major}.${minor}; ${title} needs Python ${oldestPython.join(".")} or newer: name one in CLAWPOOL_PYTHON`,
    );
  }
  return { text: `${major}.${minor}.${patch}`, executable: executable.join(" ") };
}

/** Debian splits the venv module's helper off into python3-venv; as root on Debian it is installed here. */
async function makeVenv(python: string, dir: string, onProgress?: (message: string) => void): Promise<void> {
  const hint = `${python} -m venv failed: its module is missing (Debian: apt install python3-venv)`;
  const make = () => run(python, ["-m", "venv", dir], hint);
  const complete = await execa(python, ["-c", "import ensurepip, venv"], { reject: false });
  if (complete.exitCode !== 0 && process.getuid?.() === 0) {
    onProgress?.("installing Debian's python3-venv with apt");
    await run("apt-get", ["install", "-y", "-q", "python3-venv"], hint);
  }
  await make();
}

/**
 * The environment is built in a draft folder and renamed when it is whole, but its scripts name their interpreter
 * by absolute path: point them to where it will be.
 */
async function pointScriptsTo(dir: string, draft: string): Promise<void> {
  const bin = join(draft, "bin");
  for (const entry of await readdir(bin, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(bin, entry.name);
    const text = await readFile(file, "utf8");
    if (text.includes(draft)) await writeFile(file, text.replaceAll(draft, dir));
  }
}

/** Ten minutes bound a hung download; the usual run takes seconds. */
const runLimitMs = 600_000;

async function run(command: string, args: readonly string[], hint: string): Promise<void> {
  try {
    await execa(command, args, { stdin: "ignore", all: true, timeout: runLimitMs });
  } catch (error) {
    const said = error instanceof ExecaError ? String(error.all ?? error.shortMessage) : String(error);
    throw new Error(`${hint}\n${said.trim().split("\n").slice(-8).join("\n")}`, { cause: error });
  }
}
