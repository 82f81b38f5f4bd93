/**
 * The filesystem mirror that terraform installs the hcloud provider from when its registry is out of reach: the
 * stand-in of ./terraform-provider-hcloud, built once into the user's cache, or a mirror that the environment
 * names, which may hold the real provider.
 */
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { arch, platform } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { cached, recipeKey } from "../../../pool/setup/cache.ts";

export const providerVersion = "1.68.0";
const providerPath = `registry.terraform.io/hetznercloud/hcloud/${providerVersion}`;
const sources = fileURLToPath(new URL("./terraform-provider-hcloud/", import.meta.url));

export interface ProviderMirror {
  /** For TF_CLI_CONFIG_FILE. */
  readonly cliConfigFile: string;
  readonly mirror: string;
  /** True when `CLAWPOOL_PROVIDER_MIRROR` names the mirror: then it is used as it is. */
  readonly real: boolean;
}

/**
 * Makes sure that there is a mirror, and a terraform CLI config that installs hcloud from it and from nowhere else.
 * The first call on a machine compiles for about 30 s; later ones take milliseconds.
 *
 * @throws when `CLAWPOOL_PROVIDER_MIRROR` names a folder without provider 1.68.0 for this platform, or when Go is
 *   missing or cannot build.
 */
export async function ensureProviderMirror(onBuild?: (text: string) => void): Promise<ProviderMirror> {
  const named = process.env.CLAWPOOL_PROVIDER_MIRROR;
  if (named) return namedMirror(named);
  const goVersion = await goTool(["env", "GOVERSION"]);
  const names = (await readdir(sources)).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name)).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(sources, name))));
  const key = recipeKey(goVersion, target(), ...names, ...texts);
  const { dir } = await cached("terraform-provider", key, async (draft) => {
    onBuild?.("compiling the stand-in terraform provider (about 30 s, once)");
    const folder = join(draft, "mirror", providerPath, target());
    await mkdir(folder, { recursive: true });
    const binary = join(folder, `terraform-provider-hcloud_v${providerVersion}`);
    await goTool(["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, "."], {
      CGO_ENABLED: "0",
    });
  });
  const mirror = join(dir, "mirror");
  return { mirror, cliConfigFile: await writeCliConfig(dir, mirror), real: false };
}

async function namedMirror(mirror: string): Promise<ProviderMirror> {
  const folder = join(mirror, providerPath, target());
  const found = await stat(folder).catch(() => null);
  if (!found?.isDirectory()) {
    throw new Error(`CLAWPOOL_PROVIDER_MIRROR=${mirror}: no folder ${folder} with the provider in it`);
  }
  const { dir } = await cached("terraform-cli-config", recipeKey(mirror), async () => {});
  return { mirror, cliConfigFile: await writeCliConfig(dir, mirror), real: true };
}

/** Written anew each time: the cache folder may have been moved, and the text names it. */
async function writeCliConfig(dir: string, mirror: string): Promise<string> {
  const file = join(dir, "terraform.tfrc");
  const text = cliConfig(mirror);
  if ((await readFile(file, "utf8").catch(() => "")) !== text) await writeFile(file, text);
  return file;
}

/** No `direct` method: what is not in the mirror shall fail, not go and look for a registry. */
const cliConfig = (mirror: string): string => `disable_checkpoint = true
provider_installation {
  filesystem_mirror {
    path    = ${JSON.stringify(mirror)}
    include = ["registry.terraform.io/hetznercloud/hcloud"]
  }
}
`;

function target(): string {
  const goArch = { x64: "amd64", arm64: "arm64" }[arch() as "x64" | "arm64"] ?? arch();
  return `${platform()}_${goArch}`;
}

async function goTool(args: string[], env: Record<string, string> = {}): Promise<string> {
  const result = await execa("go", args, { cwd: sources, env, reject: false });
  if (result.exitCode !== 0) {
    throw new Error(
      `go ${args[0]} of the stand-in terraform provider failed (Go 1.26 or newer is needed): ` +
        (result.stderr || result.shortMessage || "no output"),
    );
  }
  return result.stdout.trim();
}
