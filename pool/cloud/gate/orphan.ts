/**
 * The delete of what no row knows. A sweep decided on a list that is some seconds old, so everything is looked at once
 * more here, in the call before the DELETE: Hetzner has no conditional delete.
 */
import { z } from "zod";
import { BorderError } from "../../errors.ts";
import type { GateLedger, Orphan } from "../cloud.ts";
import { borderError, noAnswer } from "../errors.ts";
import { collectionOf } from "../resources.ts";
import { errorOf } from "../shapes.ts";
import { type Answer, json, type Sent, sendRepeatedly } from "../wire.ts";
import { type DeleteContext, deleteResource, deleteServer } from "./delete.ts";

const shownShape = z.object({
  id: z.number(),
  name: z
    .string()
    .nullish()
    .transform((name) => name ?? ""),
  description: z.string().nullish(),
  labels: z.record(z.string(), z.string()),
  protection: z.object({ delete: z.boolean() }).nullish(),
  assignee_id: z.number().nullish(),
  server: z.number().nullish(),
});

/** @throws BorderError */
export async function deleteOrphan(
  orphan: Orphan,
  context: DeleteContext & { readonly ledger: Pick<GateLedger, "machine" | "machineByServerId"> },
): Promise<"asked" | "gone"> {
  const { kind, id } = orphan;
  const { path: collection, key } = collectionOf(kind);
  const path = `/${collection}/${id}`;
  const call = { method: "GET", path, priority: context.priority } as const;
  const shown = answered(
    `GET ${path}`,
    await sendRepeatedly(context.wire, context.clock, call, context.deadline),
  );
  if (shown === null) return "gone";
  const parsed = shownShape.safeParse((json(shown) as Record<string, unknown> | undefined)?.[key]);
  if (!parsed.success) throw notOrphan(orphan, "Hetzner does not show it as described");
  const reason = whyNot(orphan, parsed.data) ?? (kind === "server" ? known(orphan, context.ledger) : null);
  if (reason !== null) throw notOrphan(orphan, reason);
  const reply = kind === "server" ? await deleteServer(id, context) : await deleteResource(path, context);
  if (reply.status < 300) return "asked";
  const answer: Answer = { kind: "answer", retryAfterMs: null, ...reply };
  return answered(`DELETE ${path}`, answer) === null ? "gone" : "asked";
}

/** Null for Hetzner's own "not found". */
function answered(call: string, sent: Sent): Answer | null {
  if (sent.kind !== "answer") throw noAnswer(call, sent.reason);
  const failure = errorOf(sent);
  if (sent.status === 404 && failure.code === "not_found") return null;
  if (sent.status < 300) return sent;
  throw borderError(call, { status: sent.status, ...failure });
}

function whyNot(orphan: Orphan, shown: z.infer<typeof shownShape>): string | null {
  if (shown.id !== orphan.id) return `Hetzner shows ${shown.id} instead`;
  const name = shown.name || (shown.description ?? "");
  if (name !== orphan.name) return `it is called ${JSON.stringify(name)} now`;
  const lost = Object.entries(orphan.labels).find(([label, value]) => shown.labels[label] !== value);
  if (lost) return `its label ${lost[0]} is ${shown.labels[lost[0]] ?? "gone"} now`;
  if (shown.protection?.delete) return "somebody has protected it";
  const server = orphan.kind === "server" ? null : (shown.assignee_id ?? shown.server);
  return server ? `it is attached to server ${server}` : null;
}

function known(
  { id, name }: Orphan,
  ledger: Pick<GateLedger, "machine" | "machineByServerId">,
): string | null {
  for (const owner of [ledger.machineByServerId(id)?.name, name]) {
    const row = owner === undefined ? null : ledger.machine(owner);
    if (row && row.state !== "destroyed") return `it is machine ${owner}, which is ${row.state}`;
  }
  return null;
}

const notOrphan = ({ kind, id, name }: Orphan, reason: string): BorderError =>
  new BorderError(`${kind} ${id} (${name}) is not deleted: ${reason}`, {
    border: "cloud",
    kind: "permanent",
    code: "not-orphan",
  });
