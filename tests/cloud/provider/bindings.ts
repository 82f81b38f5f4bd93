/**
 * `npm run bindings`: makes .gen/ anew, the typed classes of the few hcloud resources that the stacks use, from the
 * schema of the provider in the mirror (see mirror.ts; `CLAWPOOL_PROVIDER_MIRROR` for another one).
 *
 * The generator (`cdktn get`) has no option for a subset, so it is shown a schema of these few types alone, by a
 * command that stands before terraform. Prose, which would become comments, is left out of it, so that the bindings are
 * the same from any build of the provider; with it goes an attribute that is called `description` (of a firewall's
 * rule), which the stacks do not use. The output is changed where it does not fit: the library's package name here is
 * `cdktf`, imports carry `.ts` for Node's type stripping, and overriding members say so, because the program's own
 * compiler options ask for it.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { ensureProviderMirror, providerVersion } from "./mirror.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const resources = ["server", "ssh_key", "firewall", "placement_group", "network", "network_subnet"];
const folders = ["provider", ...resources.map((name) => name.replaceAll("_", "-"))];

/** Runs terraform; of a schema that it prints, passes on what the bindings are made of. */
const terraformInFront = `#!${process.execPath}
const { spawnSync } = require("node:child_process");
const args = process.argv.slice(2);
const wanted = ${JSON.stringify(resources.map((name) => `hcloud_${name}`))};
const asked = args[0] === "providers" && args[1] === "schema";
const run = spawnSync("terraform", args, { stdio: ["inherit", asked ? "pipe" : "inherit", "inherit"], maxBuffer: 2 ** 30 });
if (asked) {
  const prose = (key, value) => (/^(description|description_kind|deprecation_message)$/.test(key) ? undefined : value);
  const schema = JSON.parse(run.stdout.toString(), prose);
  for (const [name, { provider, resource_schemas }] of Object.entries(schema.provider_schemas)) {
    const kept = Object.entries(resource_schemas).filter(([type]) => wanted.includes(type));
    schema.provider_schemas[name] = { provider, resource_schemas: Object.fromEntries(kept) };
  }
  process.stdout.write(JSON.stringify(schema));
}
process.exitCode = run.status ?? 1;
`;

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
    const inFront = join(draft, "terraform.cjs");
    await writeFile(inFront, terraformInFront, { mode: 0o755 });
    await execa(process.execPath, [join(root, "node_modules/cdktn-cli/bundle/bin/cdktn.js"), "get"], {
      cwd: draft,
      env: {
        TERRAFORM_BINARY_NAME: inFront,
        TF_CLI_CONFIG_FILE: cliConfigFile,
        CHECKPOINT_DISABLE: "1",
        DISABLE_VERSION_CHECK: "1",
        CI: "1",
      },
    });
    const generated = join(draft, "gen/providers/hcloud");
    await rm(target, { recursive: true, force: true });
    for (const folder of folders) {
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
    .replaceAll(/public (get|set) alias\(/g, "public override $1 alias(")
    .replaceAll(/protected (synthesize\w+)\(/g, "protected override $1(");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await generateBindings(join(root, ".gen/providers/hcloud"));
}
