/** Switching a server off and on: no terraform resource does it, so the daemon asks the gate itself. */
import { BorderError } from "../../errors.ts";
import type { GateRun, PowerAction } from "../cloud.ts";
import { assertTaken } from "../errors.ts";

const timeoutMs = 30_000;

/**
 * Asks through the gate, so that the same permits hold as for terraform.
 *
 * @throws BorderError `transient` when another action runs on the server (423 `locked`, 409 `conflict`) or there was no
 * answer: asked again it does as it is told. Else `permanent` or `auth`, when the gate or Hetzner refuses.
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
  const contentType = answer.headers.get("content-type");
  assertTaken(what, { status: answer.status, contentType, body: await answer.text() });
}
