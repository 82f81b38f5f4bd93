/**
 * The CDKTF program for people: the platform stack and one stack for every live machine, the same classes and the
 * same state files that the daemon uses. `npx cdktf list|diff|deploy|destroy` runs it; which machines live is in the
 * file that CLAWPOOL_STACKS names (pool/cli/cdktf.ts writes it from what the daemon says).
 */
import { readFileSync } from "node:fs";
import { App } from "./pool/terraform/cdk.ts";
import { MachineStack } from "./pool/terraform/machine-stack.ts";
import { PlatformStack } from "./pool/terraform/platform-stack.ts";
import { parseStackInputs } from "./pool/terraform/stack-inputs.ts";

const file = process.env.CLAWPOOL_STACKS;
if (!file) {
  throw new Error(
    "CLAWPOOL_STACKS names no file; run this through `npx cdktf`, which asks the daemon for it",
  );
}
const { platform, machines, stateDir } = parseStackInputs(readFileSync(file, "utf8"));

const app = new App();
new PlatformStack(app, platform, stateDir);
for (const machine of machines) new MachineStack(app, machine, stateDir);
app.synth();
