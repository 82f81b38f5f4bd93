/** The `clawpool` command: one file for each subcommand, here only the list. */
import { Command } from "commander";
import { ConfigError } from "../config/load.ts";
import { registerAudit } from "./audit.ts";
import { registerBackup } from "./backup.ts";
import { registerBill } from "./bill.ts";
import { registerConfig } from "./config.ts";
import { registerDestroy } from "./destroy.ts";
import { registerDoctor } from "./doctor.ts";
import { registerHold } from "./hold.ts";
import { registerInit } from "./init.ts";
import { registerMachines } from "./machines.ts";
import { registerNotify } from "./notify.ts";
import { registerOrders } from "./orders.ts";
import { registerCdktf } from "./people.ts";
import { registerPlan } from "./plan.ts";
import { registerReconcile } from "./reconcile.ts";
import { registerRecover } from "./recover.ts";
import { registerResume } from "./resume.ts";
import { registerRollout } from "./rollout.ts";
import { registerServe } from "./serve.ts";
import { registerSimulate } from "./simulate.ts";
import { registerState } from "./state.ts";
import { registerStatus } from "./status.ts";

/** Nothing was done: a script can tell a file that is wrong from a command that failed. */
const unusableConfig = 2;

const program = new Command("clawpool")
  .description("A warm pool of Hetzner VMs for OpenClaw")
  .option("-c, --config <file>", "configuration file", process.env.CLAWPOOL_CONFIG ?? "clawpool.yaml")
  .enablePositionalOptions()
  .showHelpAfterError()
  .showSuggestionAfterError();

for (const register of [
  registerServe,
  registerInit,
  registerDoctor,
  registerStatus,
  registerPlan,
  registerMachines,
  registerOrders,
  registerHold,
  registerResume,
  registerRollout,
  registerReconcile,
  registerBill,
  registerState,
  registerDestroy,
  registerNotify,
  registerBackup,
  registerRecover,
  registerAudit,
  registerConfig,
  registerSimulate,
  registerCdktf,
]) {
  register(program);
}

try {
  await program.parseAsync();
} catch (error) {
  // An operator wants the sentence, not our stack; DEBUG=1 gives both.
  console.error(process.env.DEBUG ? error : `clawpool: ${error instanceof Error ? error.message : error}`);
  process.exitCode = error instanceof ConfigError ? unusableConfig : 1;
}
