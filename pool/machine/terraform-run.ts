/** One terraform run for one machine: a token of the gate that is good for just this, an audit row, a typed error. */
import type { GateRun, RunPermit } from "../cloud/cloud.ts";
import { terraformError } from "../terraform/errors.ts";
import type { RunResult } from "../terraform/terraform.ts";
import type { Machine } from "./machine.ts";
import type { StageContext } from "./stage.ts";

type MachinePermit = Extract<RunPermit, { kind: "machine" }>;

/** Runs `work` with a token that permits only what is named, and closes it whatever happens. */
export async function withPermit<T>(
  machine: Machine,
  { gate }: StageContext,
  may: Partial<Pick<MachinePermit, "create" | "update" | "destroy">>,
  work: (run: GateRun) => Promise<T>,
): Promise<T> {
  const run = gate.openRun({
    kind: "machine",
    machine: machine.name,
    actor: "daemon",
    create: false,
    update: false,
    destroy: false,
    priority: may.destroy ? "destroy" : "refill",
    ...may,
  });
  try {
    return await work(run);
  } finally {
    run.close();
  }
}

/**
 * Waits for a run and audits it as `terraform.<what>`.
 *
 * @throws BorderError by terraform's own diagnostics when it failed
 */
export async function audited(
  what: string,
  machine: Machine,
  { store }: StageContext,
  run: GateRun,
  running: Promise<RunResult>,
): Promise<void> {
  const result = await running;
  store.audit("daemon", `terraform.${what}`, machine.name, {
    run: result.run,
    ok: result.ok,
    ms: result.endedAt - result.startedAt,
    calls: run.counts(),
  });
  if (!result.ok) throw terraformError(result);
}
