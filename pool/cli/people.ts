import type { Command } from "commander";
import { runCdktf } from "./cdktf.ts";

/** `clawpool cdktf …`: the same as `npx cdktf …`. */
export function registerCdktf(program: Command): void {
  program
    .command("cdktf")
    .description("list, diff, deploy or destroy stacks by hand, under the daemon's locks and rules")
    .argument("[args...]")
    .allowUnknownOption()
    .helpOption(false)
    .passThroughOptions()
    .action(async (args: string[]) => {
      process.exitCode = await runCdktf(args);
    });
}
