/** The one delete that is not terraform's: of a server that no state file knows any more. */
import { BorderError } from "../../errors.ts";
import type { GateRun } from "../cloud.ts";
import { assertTaken } from "../errors.ts";

const timeoutMs = 30_000;

/**
 * Deletes a server through the gate, so that the same permits hold as for terraform. Success also of one that is gone; the
 * caller asks the cloud again anyway.
 *
 * @throws BorderError as Hetzner's: `transient` also when there was no answer, or another action runs on the server;
 * `permanent` or `auth` when the gate or Hetzner refuses.
 */
export async function deleteThroughGate(run: GateRun, serverId: number): Promise<void> {
  const what = `DELETE server ${serverId}`;
  const answer = await fetch(`${run.endpoint}/servers/${serverId}`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${run.token.expose()}` },
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((cause: unknown) => {
    throw new BorderError(`${what}: no answer`, { border: "cloud", kind: "transient", cause });
  });
  if (answer.status === 404) return;
  const contentType = answer.headers.get("content-type");
  assertTaken(what, { status: answer.status, contentType, body: await answer.text() });
}
