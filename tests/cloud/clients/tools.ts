/**
 * The clients that other people wrote, as they are published: Debian's hcloud-cli and, from PyPI, `hcloud` and
 * schemathesis. They are fetched once, into the user's cache.
 */
import { mkdir, readdir } from "node:fs/promises";
import { arch } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { cached, recipeKey } from "../../../pool/setup/cache.ts";
import { ensureVenv, type SetupOptions } from "../../../pool/setup/venv.ts";

const requirements = fileURLToPath(new URL("./requirements.txt", import.meta.url));

/** Of Debian 12; what apt offers must begin with it, for the tests name its commands. */
const cliVersion = "1.30.3";

/**
 * Debian's package, unpacked: nothing is installed and no root is needed. About 2 s the first time.
 * @returns path of the program
 * @throws Error that names what is missing and how to get it
 */
export async function ensureHcloudCli({ onProgress }: SetupOptions = {}): Promise<string> {
  const offer = async () => {
    const policy = await execa("apt-cache", ["policy", "hcloud-cli"], { reject: false });
    return /^\s*Candidate: (\S+)$/m.exec(policy.stdout ?? "")?.[1];
  };
  let offered = await offer();
  if (offered === undefined && process.getuid?.() === 0) {
    onProgress?.("fetching apt's package lists");
    await execa("apt-get", ["update", "-q"], { reject: false });
    offered = await offer();
  }
  if (!offered?.startsWith(`${cliVersion}-`)) {
    throw new Error(
      `apt offers hcloud-cli ${offered ?? "not at all"}; wanted is Debian 12's ${cliVersion}: ` +
        "use Debian 12, or run apt-get update if its package lists are missing",
    );
  }
  const { dir } = await cached("hcloud-cli", recipeKey(offered, arch()), async (draft) => {
    onProgress?.("fetching Debian's hcloud-cli");
    await execa("apt-get", ["download", "-q", `hcloud-cli=${offered}`], { cwd: draft });
    const [file = ""] = (await readdir(draft)).filter((name) => name.endsWith(".deb"));
    await mkdir(join(draft, "root"));
    await execa("dpkg", ["-x", join(draft, file), join(draft, "root")]);
  });
  return join(dir, "root", "usr", "bin", "hcloud");
}

/** @returns `bin`, with python (which has `hcloud`) and schemathesis. @throws as `ensureVenv` */
export function ensurePythonClients({ onProgress }: SetupOptions = {}): Promise<{ bin: string }> {
  return ensureVenv({
    name: "hetzner-clients",
    title: "hcloud for Python and schemathesis",
    requirements,
    onProgress,
  });
}
