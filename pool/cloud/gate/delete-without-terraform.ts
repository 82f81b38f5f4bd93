/** The one delete that is not terraform's: of a server that no state file knows any more. */
import { BorderError } from "../../errors.ts";
import type { GateRun } from "../cloud.ts";

const timeoutMs = 30_000;

/**
 * Deletes a server through the gate, so that the same permits hold as for terraform. A server that is gone or locked by
 * its own deletion is success: the caller asks the cloud again anyway.
 *
 * @throws BorderError `permanent` when the gate or Hetzner refuses, `transient` when there was no answer.
 */
export async function deleteThroughGate(run: GateRun, serverId: number): Promise<void> {
  const url = `${run.endpoint}/servers/${serverId}`;
  const headers = { authorization: `Bearer ${run.token.expose()}` };
  const answer = await fetch(url, {
    method: "DELETE",
    headers,
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((cause: unknown) => {
    throw new BorderError(`DELETE server ${serverId}: no answer`, {
      border: "cloud",
      kind: "transient",
      cause,
    });
  });
  const body = await answer.text();
  if (answer.ok || answer.status === 404) return;
  const kind = answer.status === 423 && !body.includes("protected") ? "transient" : "permanent";
  if (kind === "transient" || answer.status >= 500) {
    throw new BorderError(`DELETE server ${serverId}: ${answer.status}`, {
      border: "cloud",
      kind: "transient",
    });
  }
  throw new BorderError(`DELETE server ${serverId} was refused: ${body.slice(0, 300)}`, {
    border: "cloud",
    kind,
  });
}
