import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { DestroyAnswer } from "../people/confirmed-destroy.ts";
import { askDaemon } from "./admin-client.ts";

/** `clawpool destroy <machine> [--confirm <machine>]`. */
export function registerDestroy(program: Command): void {
  program
    .command("destroy")
    .description("destroy a machine by its name; a customer's only with its name given twice")
    .argument("<machine>")
    .option("--confirm <machine>", "the name once more: the customer's data on it is lost")
    .action(async (machine: string, { confirm }: { confirm?: string }) => {
      const { stateDir } = loadConfig(program.opts().config);
      const actor = `person:${userInfo().username}`;
      const request = { machine, confirm: confirm ?? null, actor };
      const answer = await askDaemon<DestroyAnswer>(stateDir, "POST", "/destroy", request);
      console.log(
        `${machine} is destroyed now; \`clawpool machines\` shows it until the cloud says that it is gone`,
      );
      if (answer.order === null) return;
      const subscription = answer.subscription ?? "its subscription";
      console.log(
        `Order ${answer.order} ends with it. Stripe goes on charging for ${subscription}: cancel it there.`,
      );
    });
}
