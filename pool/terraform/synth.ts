/** Stacks to files, in this process: 1-2 ms a stack, no command line tool, and never its output folder. */
import { mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { App, type TerraformStack } from "./cdk.ts";
import { platformName, stackFolder } from "./folders.ts";
import { MachineStack } from "./machine-stack.ts";
import { PlatformStack } from "./platform-stack.ts";
import type { MachineStackInput, PlatformStackInput } from "./terraform.ts";

/** Writes `<root>/machines/<name>/cdk.tf.json` and gives the folder. */
export function synthMachine(root: string, input: MachineStackInput): Promise<string> {
  const folder = stackFolder(root, input.name);
  return synth(root, folder, (app) => new MachineStack(app, input, root));
}

/** Writes `<root>/platform/cdk.tf.json` and gives the folder. */
export function synthPlatform(root: string, input: PlatformStackInput): Promise<string> {
  return synth(root, stackFolder(root, platformName), (app) => new PlatformStack(app, input, root));
}

async function synth(root: string, folder: string, build: (app: App) => TerraformStack): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // The App's constructor makes its output folder at once; nothing is ever written there, because the library
  // writes files in place, and a terraform that reads at that moment would see half of one.
  const stack = build(new App({ outdir: join(root, ".synth"), stackTraces: false }));
  stack.prepareStack();
  const text = `${JSON.stringify(stack.toTerraform(), null, 2)}\n`;
  const draft = join(folder, ".cdk.tf.json.draft");
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, join(folder, "cdk.tf.json"));
  return folder;
}
