/**
 * `POST /servers`, the call that costs money. Its answer can be lost after Hetzner has made the server (cut
 * connection, 502, 504, time-out): terraform would end with an error and an empty state, and the server would bill
 * for ever. The unique name is the idempotency key: after a lost try it is looked up, and what is found there is
 * answered as if nothing had happened. There is never more than one try in flight.
 */
import { z } from "zod";
import type { Clock } from "../../clock.ts";
import type { Priority } from "../budget.ts";
import { actionShape, errorOf, type ServerShape, serverShape } from "../shapes.ts";
import {
  createPauses,
  type Deadline,
  isPassing,
  json,
  type Sent,
  sendRepeatedly,
  type Wire,
} from "../wire.ts";
import { errorReply, jsonReply, type Reply, replyOf } from "./reply.ts";
import type { ServerOrder } from "./request.ts";

export interface CreateContext {
  readonly wire: Wire;
  readonly clock: Clock;
  readonly deadline: Deadline;
  /** Of the order itself; what follows a bought server is urgent. */
  readonly priority: Priority;
  /** Durable when it returns. Called exactly once, before the reply, with the id of the server that is answered. */
  readonly record: (id: number) => void;
  /** Told what was repaired, in words. */
  readonly repaired: (what: string) => void;
}

interface Found {
  readonly raw: unknown;
  readonly server: ServerShape;
}

/** Sends terraform's order until its fate is known; see the head of this file. */
export async function createServer(order: ServerOrder, body: string, context: CreateContext): Promise<Reply> {
  const { wire, clock, deadline, priority, record, repaired } = context;
  const pauses = createPauses(clock, deadline);
  let lostBefore = false;
  for (;;) {
    const sent = await wire.send({ method: "POST", path: "/servers", body, priority }, deadline());
    if (sent.kind === "unsent") return replyOf("POST /servers", sent);
    const id = createdId(sent);
    if (id !== null) {
      record(id);
      return replyOf("POST /servers", sent);
    }
    const limited = sent.kind === "answer" && sent.status === 429;
    const nameTaken = sent.kind === "answer" && errorOf(sent).code === "uniqueness_error";
    const lost = !limited && (isPassing(sent) || (sent.kind === "answer" && sent.status < 300));
    if (!limited && !nameTaken && !lost) return replyOf("POST /servers", sent);

    if (lost || nameTaken) {
      const found = await lookUp(order.name, context);
      if (found === "unknown") return undecided(order.name);
      if (found !== null) {
        // A taken name without a lost try of our own: a try of a daemon that died before it could write the id.
        if (!isOurs(found.server, order, lostBefore || lost)) {
          return nameTaken
            ? replyOf("POST /servers", sent)
            : errorReply(409, "uniqueness_error", `${order.name} is a server of somebody else`);
        }
        record(found.server.id);
        repaired(`POST /servers lost (${describe(sent)}); ${order.name} found as server ${found.server.id}`);
        return await adopt(found, context);
      }
      lostBefore ||= lost;
      repaired(`POST /servers failed (${describe(sent)}); ${order.name} does not exist, ordering again`);
    }
    const atLeast = sent.kind === "answer" ? (sent.retryAfterMs ?? 0) : 0;
    if (!(await pauses.pause(atLeast))) {
      return lostBefore ? undecided(order.name) : replyOf("POST /servers", sent);
    }
  }
}

const created = z.object({ server: z.object({ id: z.number().int().positive() }) });

function createdId(sent: Sent): number | null {
  if (sent.kind !== "answer" || sent.status < 200 || sent.status > 299) return null;
  const parsed = created.safeParse(json(sent));
  return parsed.success ? parsed.data.server.id : null;
}

/** The server of that name, null when there is none, `unknown` when nobody would say before the deadline. */
async function lookUp(name: string, context: CreateContext): Promise<Found | null | "unknown"> {
  const path = `/servers?${new URLSearchParams({ name })}`;
  const answer = await read(path, context);
  const list = z.object({ servers: z.array(z.unknown()) }).safeParse(answer);
  if (!list.success) return "unknown";
  for (const raw of list.data.servers) {
    const server = serverShape.safeParse(raw);
    if (server.success && server.data.name === name) return { raw, server: server.data };
  }
  return null;
}

/**
 * Ours when it carries every label of the order. An order without labels proves nothing by them; then only a lost
 * try of our own under this unique name does.
 */
function isOurs(server: ServerShape, order: ServerOrder, lost: boolean): boolean {
  const labels = Object.entries(order.labels);
  if (labels.length === 0) return lost;
  return labels.every(([key, value]) => server.labels[key] === value);
}

/** The answer that was lost, put together again: the server, its create action, its start as the next action. */
async function adopt(found: Found, context: CreateContext): Promise<Reply> {
  const { id, name } = found.server;
  const pauses = createPauses(context.clock, context.deadline);
  for (;;) {
    const answer = await read(`/servers/${id}/actions?per_page=50`, context);
    const list = z.object({ actions: z.array(actionShape) }).safeParse(answer);
    const byCommand = (command: string) =>
      list.success ? list.data.actions.find((action) => action.command === command) : undefined;
    const action = byCommand("create_server");
    if (action) {
      const start = byCommand("start_server");
      return jsonReply(201, {
        server: found.raw,
        action,
        next_actions: start ? [start] : [],
        root_password: null,
      });
    }
    // The server is in the ledger; without its action terraform could not wait for it.
    if (!(await pauses.pause())) return undecided(name);
  }
}

async function read(path: string, context: CreateContext): Promise<unknown> {
  const call = { method: "GET", path, priority: "destroy" } as const;
  const sent = await sendRepeatedly(context.wire, context.clock, call, context.deadline);
  return sent.kind === "answer" && sent.status === 200 ? json(sent) : undefined;
}

const undecided = (name: string): Reply =>
  errorReply(503, "unavailable", `no answer to POST /servers before the deadline; ${name} may exist`);

const describe = (sent: Sent): string => (sent.kind === "answer" ? `HTTP ${sent.status}` : sent.reason);
