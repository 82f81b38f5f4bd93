/** Runs of something outside (terraform, Ansible) in the audit log. */
import { BorderError } from "../errors.ts";
import type { Store } from "../store/store.ts";

export interface RunAccount {
  /** `terraform.apply`; the row before the run gets `.begun` behind it. */
  readonly action: string;
  readonly subject: string;
  readonly why: string;
  readonly actor?: string;
}

/** What the row after the run says beside its reason; `run` names the run's log. */
export interface RunOutcome {
  readonly run: string | null;
  readonly ok: boolean;
  readonly [fact: string]: unknown;
}

/**
 * One row before the run and one after it, whatever becomes of it: `begun` without an end is a run in which the daemon
 * died. An error goes on to the caller.
 */
export async function auditedRun<Result>(
  store: Pick<Store, "audit">,
  { action, subject, why, actor = "daemon" }: RunAccount,
  work: () => Promise<Result>,
  outcome: (result: Result) => RunOutcome,
): Promise<Result> {
  store.audit(actor, `${action}.begun`, subject, { why });
  let result: Result;
  try {
    result = await work();
  } catch (error) {
    const code = error instanceof BorderError ? error.code : undefined;
    const message = error instanceof Error ? error.message : String(error);
    store.audit(actor, action, subject, { why, ok: false, code, error: message.slice(0, 2_000) });
    throw error;
  }
  store.audit(actor, action, subject, { why, ...outcome(result) });
  return result;
}
