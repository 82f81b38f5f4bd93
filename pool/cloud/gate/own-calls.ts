/** What the daemon asks of the gate itself, because no terraform run does it. The same permits hold as for terraform. */
import type { GateRun, PowerAction } from "../cloud.ts";
import { assertTaken, noAnswer } from "../errors.ts";
import type { ErrorAnswer } from "../shapes.ts";

const timeoutMs = 30_000;

/**
 * Deletes a server that no state file knows any more. Success also of one that is gone; the caller asks the cloud again
 * anyway.
 *
 * @throws BorderError as Hetzner's: `transient` also when there was no answer, or another action runs on the server;
 * `permanent` or `auth` when the gate or Hetzner refuses.
 */
export async function deleteThroughGate(run: GateRun, serverId: number): Promise<void> {
  const what = `DELETE server ${serverId}`;
  const answer = await ask(what, "DELETE", `/servers/${serverId}`, run);
  if (answer.status !== 404) assertTaken(what, answer);
}

/**
 * Switches a server off or on: no terraform resource does it.
 *
 * @throws BorderError `transient` when another action runs on the server (423 `locked`, 409 `conflict`) or there was no
 * answer: asked again it does as it is told. Else `permanent` or `auth`, when the gate or Hetzner refuses.
 */
export async function powerThroughGate(run: GateRun, serverId: number, action: PowerAction): Promise<void> {
  const what = `${action} of server ${serverId}`;
  assertTaken(what, await ask(what, "POST", `/servers/${serverId}/actions/${action}`, run));
}

/** @throws BorderError `transient` when there was no answer */
async function ask(what: string, method: string, path: string, run: GateRun): Promise<ErrorAnswer> {
  const headers = { authorization: `Bearer ${run.token.expose()}`, "content-type": "application/json" };
  const signal = AbortSignal.timeout(timeoutMs);
  const answer = await fetch(run.endpoint + path, { method, headers, signal }).catch((error: unknown) => {
    throw noAnswer(what, error instanceof Error ? error.message : String(error));
  });
  const contentType = answer.headers.get("content-type");
  return { status: answer.status, contentType, body: await answer.text() };
}
