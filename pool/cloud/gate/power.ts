/** Switching a server off and on: no terraform resource does it, so the daemon asks the gate itself. */
import { kindOf } from "../../error-kinds.ts";
import { BorderError } from "../../errors.ts";
import type { GateRun, PowerAction } from "../cloud.ts";

const timeoutMs = 30_000;

/**
 * Asks through the gate, so that the same permits hold as for terraform. 409 and 423 `locked` (another action runs on the
 * server) are left at that: the caller looks at the server anyway, and asks again.
 *
 * @throws BorderError `permanent` or `auth` when the gate or Hetzner refuses, `transient` when there was no answer.
 */
export async function powerThroughGate(run: GateRun, serverId: number, action: PowerAction): Promise<void> {
  const what = `${action} of server ${serverId}`;
  const answer = await fetch(`${run.endpoint}/servers/${serverId}/actions/${action}`, {
    method: "POST",
    headers: { authorization: `Bearer ${run.token.expose()}`, "content-type": "application/json" },
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((cause: unknown) => {
    throw new BorderError(`${what}: no answer`, { border: "cloud", kind: "transient", cause });
  });
  const body = await answer.text();
  judgePowerAnswer(what, answer.status, body);
}

/** @throws BorderError unless the request was taken or the server is busy */
export function judgePowerAnswer(what: string, status: number, body: string): void {
  if (status < 300 || status === 409 || (status === 423 && !body.includes("protected"))) return;
  const kind = kindOf("cloud", { status });
  throw new BorderError(`${what}: ${status} ${body.slice(0, 300)}`, { border: "cloud", kind });
}
