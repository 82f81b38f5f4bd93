/**
 * Deletes whose answer may be lost. The provider tries each once and takes a 404 on `DELETE /servers/{id}` for an
 * error, so the gate finds out what happened before it answers.
 */
import { z } from "zod";
import type { Clock } from "../../clock.ts";
import type { Priority } from "../budget.ts";
import { actionShape, errorOf } from "../shapes.ts";
import { createPauses, type Deadline, isPassing, json, sendRepeatedly, type Wire } from "../wire.ts";
import { errorReply, jsonReply, type Reply, replyOf } from "./reply.ts";

export interface DeleteContext {
  readonly wire: Wire;
  readonly clock: Clock;
  readonly deadline: Deadline;
  readonly priority: Priority;
  readonly repaired: (what: string) => void;
}

/**
 * `DELETE /servers/{id}`: waits out a 423 `locked` (an action still runs on it), and after a lost try answers with
 * the delete action that is already there. When the lost try has already finished, the answer is 404 `not_found`:
 * the provider reports it, and the next destroy finds the server gone and is clean.
 */
export async function deleteServer(id: number, context: DeleteContext): Promise<Reply> {
  const { wire, clock, deadline, priority, repaired } = context;
  const path = `/servers/${id}`;
  const pauses = createPauses(clock, deadline);
  for (;;) {
    const sent = await wire.send({ method: "DELETE", path, priority }, deadline());
    const locked = sent.kind === "answer" && sent.status === 423 && errorOf(sent).code === "locked";
    if (!locked && !isPassing(sent)) return replyOf(`DELETE ${path}`, sent);
    if (sent.kind === "lost" || (sent.kind === "answer" && sent.status >= 500)) {
      const call = { method: "GET", path: `${path}/actions?per_page=50`, priority } as const;
      const actions = await sendRepeatedly(wire, clock, call, deadline);
      if (actions.kind === "answer" && actions.status === 404) {
        repaired(`DELETE ${path} lost; the server is gone`);
        return errorReply(404, "not_found", `server ${id} not found`);
      }
      const running = actions.kind === "answer" ? deleteAction(json(actions)) : undefined;
      if (running) {
        repaired(`DELETE ${path} lost; its action ${running.id} was found`);
        return jsonReply(200, { action: running });
      }
    }
    const atLeast = sent.kind === "answer" ? (sent.retryAfterMs ?? 0) : 0;
    if (!(await pauses.pause(atLeast))) return replyOf(`DELETE ${path}`, sent);
  }
}

function deleteAction(value: unknown): z.infer<typeof actionShape> | undefined {
  const list = z.object({ actions: z.array(actionShape) }).safeParse(value);
  return list.success
    ? list.data.actions.find((action) => action.command === "delete_server" && action.status !== "error")
    : undefined;
}

/** A platform resource: deleting twice is harmless, and after a lost try a 404 says that the first one worked. */
export async function deleteResource(path: string, context: DeleteContext): Promise<Reply> {
  const { wire, clock, deadline, priority, repaired } = context;
  const pauses = createPauses(clock, deadline);
  let lostBefore = false;
  for (;;) {
    const sent = await wire.send({ method: "DELETE", path, priority }, deadline());
    if (!isPassing(sent)) {
      if (lostBefore && sent.kind === "answer" && sent.status === 404) {
        repaired(`DELETE ${path} lost; it is gone`);
        return { status: 204, contentType: null, correlationId: null, body: "" };
      }
      return replyOf(`DELETE ${path}`, sent);
    }
    lostBefore ||= sent.kind === "lost" || (sent.kind === "answer" && sent.status >= 500);
    const atLeast = sent.kind === "answer" ? (sent.retryAfterMs ?? 0) : 0;
    if (!(await pauses.pause(atLeast))) return replyOf(`DELETE ${path}`, sent);
  }
}
