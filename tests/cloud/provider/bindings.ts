/**
 * `npm run bindings`: makes .gen/ anew, the typed classes of the few hcloud resources that the stacks use, from the
 * schema of the provider in the mirror (see mirror.ts; `CLAWPOOL_PROVIDER_MIRROR` for another one).
 *
 * The generator (`cdktn get`) has no option for a subset, so the whole is generated and the rest left out. Its output
 * is changed where it does not fit: the library's package name here is `cdktf`, imports carry `.ts` for Node's type
 * stripping, and overriding members say so, because the program's own compiler options ask for it.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { ensureProviderMirror, providerVersion } from "./mirror.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const wanted = ["provider", "server", "ssh-key", "firewall", "placement-group", "network", "network-subnet"];

/** Writes the bindings below `target` (a folder of its own; replaced). */
export async function generateBindings(target: string): Promise<void> {
  const { cliConfigFile } = await ensureProviderMirror(console.error);
  const draft = await mkdtemp(join(tmpdir(), "clawpool-bindings-"));
  try {
    await writeFile(
      join(draft, "cdktf.json"),
      JSON.stringify({
        language: "typescript",
        app: "true",
        projectId: "clawpool",
        sendCrashReports: "false",
        terraformProviders: [`hetznercloud/hcloud@= ${providerVersion}`],
        codeMakerOutput: "gen",
      }),
    );
    await execa(process.execPath, [join(root, "node_modules/cdktn-cli/bundle/bin/cdktn.js"), "get"], {
      cwd: draft,
      env: {
        TF_CLI_CONFIG_FILE: cliConfigFile,
        CHECKPOINT_DISABLE: "1",
        DISABLE_VERSION_CHECK: "1",
        CI: "1",
      },
    });
    const generated = join(draft, "gen/providers/hcloud");
    const folders = await readdir(generated);
    await rm(target, { recursive: true, force: true });
    // Only a provider with functions of its own has this folder, and only then the provider class imports it.
    for (const folder of [...wanted, "provider-functions"]) {
      if (!folders.includes(folder)) {
        if (folder !== "provider-functions") throw new Error(`the generator made no ${folder}`);
        continue;
      }
      await mkdir(join(target, folder), { recursive: true });
      const text = await readFile(join(generated, folder, "index.ts"), "utf8");
      await writeFile(join(target, folder, "index.ts"), adapted(text));
    }
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

function adapted(text: string): string {
  return text
    .replaceAll("from 'cdktn'", "from 'cdktf'")
    .replaceAll("'../provider-functions/index'", "'../provider-functions/index.ts'")
    .replaceAll(/public (get|set) alias\(/g, "public override $1 alias(")
    .replaceAll(/protected (synthesize\w+)\(/g, "protected override $1(");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await generateBindings(join(root, ".gen/providers/hcloud"));
}
