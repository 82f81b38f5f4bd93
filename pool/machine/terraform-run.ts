/** One terraform run for one machine: a token of the gate that is good for just this, audit rows, a typed error. */
import type { GateRun, RunPermit } from "../cloud/cloud.ts";
import { auditedRun } from "../observe/audited-run.ts";
import { terraformError } from "../terraform/errors.ts";
import type { RunResult } from "../terraform/terraform.ts";
import type { Machine } from "./machine.ts";
import type { StageContext } from "./stage.ts";
import { rememberState } from "./state.ts";

type MachinePermit = Extract<RunPermit, { kind: "machine" }>;

/** Runs `work` with a token that permits only what is named, and closes it whatever happens. */
export async function withPermit<T>(
  machine: Machine,
  { gate }: StageContext,
  may: Partial<Pick<MachinePermit, "create" | "update" | "destroy" | "power">>,
  work: (run: GateRun) => Promise<T>,
): Promise<T> {
  const run = gate.openRun({
    kind: "machine",
    machine: machine.name,
    actor: "daemon",
    create: false,
    update: false,
    destroy: false,
    priority: may.destroy || may.power ? "destroy" : "refill",
    ...may,
  });
  try {
    return await work(run);
  } finally {
    run.close();
  }
}

/**
 * Runs terraform and audits it as `terraform.<what>`, with what it changed and the calls that it made. What it left in
 * the state is remembered, however it ended.
 *
 * @throws BorderError by terraform's own diagnostics when it failed
 */
export async function audited(
  what: string,
  why: string,
  machine: Machine,
  context: Pick<StageContext, "store" | "terraform" | "log">,
  run: GateRun,
  work: () => Promise<RunResult>,
  actor = "daemon",
): Promise<void> {
  const { store, log } = context;
  const account = { action: `terraform.${what}`, subject: machine.name, why, actor };
  try {
    const result = await auditedRun(store, account, work, (ended) => runFacts(ended, run));
    if (!result.ok) throw terraformError(result);
  } finally {
    // Not remembered is harmless: the next look finds a newer state and asks the cloud.
    await rememberState(machine, context, what === "import").catch((err: unknown) =>
      log.warn({ machine: machine.name, err }, "the state could not be read after the run"),
    );
  }
}

/** Of a run that ended: what a row keeps. Its log file has everything else. */
export const runFacts = (result: RunResult, run: GateRun) => ({
  run: result.run,
  ok: result.ok,
  ms: result.endedAt - result.startedAt,
  changes: result.changes.map(({ action, address }) => `${action} ${address}`),
  errors: result.errors.map(({ summary }) => summary),
  calls: run.counts(),
});
