/**
 * The gate: terraform's only way to Hetzner. A proxy on loopback that swaps the run's token for the real one, holds
 * every request against the machine's row (permits.ts), and repairs what the provider cannot (create.ts, delete.ts,
 * polls.ts). docs/gate.md says what and why.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import getRawBody from "raw-body";
import { z } from "zod";
import { type Clock, systemClock } from "../../clock.ts";
import type { Secret } from "../../secrets/secret.ts";
import type { Budget, Priority } from "../budget.ts";
import type { Gate, GateLedger } from "../cloud.ts";
import { actionShape } from "../shapes.ts";
import {
  type Call,
  createPauses,
  createWire,
  type Deadline,
  json,
  sendRepeatedly,
  type Wire,
} from "../wire.ts";
import { createServer } from "./create.ts";
import { deleteResource, deleteServer } from "./delete.ts";
import { createMemory } from "./memory.ts";
import { deleteOrphan } from "./orphan.ts";
import { deleteThroughGate, powerThroughGate } from "./own-calls.ts";
import { decide, type JudgedPermit, judge, type Row, unnamed } from "./permits.ts";
import { createPolls } from "./polls.ts";
import { errorReply, type Reply, replyOf } from "./reply.ts";
import { classify, type GateRequest } from "./request.ts";
import { createRuns, type Run } from "./runs.ts";

export interface GateOptions {
  /** Hetzner's API; the endpoint ends in `/v1`. */
  readonly upstream: { readonly endpoint: string; readonly token: Secret };
  readonly ledger: GateLedger;
  /** Shared with the daemon's own client. */
  readonly budget: Budget;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  readonly clock?: Clock;
  readonly host?: "127.0.0.1";
  /** Default 0: any free port. */
  readonly port?: number;
  readonly timing?: Partial<GateTiming>;
}

/** All in milliseconds. */
export interface GateTiming {
  /** How long one request of terraform is worked on: repeats, look-ups, waits for budget. */
  readonly deadlineMs: number;
  readonly readTimeoutMs: number;
  readonly writeTimeoutMs: number;
  /** At least this between two looks at actions, for all runs together. */
  readonly minPollMs: number;
  readonly catalogueMs: number;
  /** How long a server in which nothing moves is answered from memory: refresh, plan and update read it three times. */
  readonly serverMs: number;
  /** What requests under way may still take after `close()`. */
  readonly closeMs: number;
}

export const defaultTiming = {
  deadlineMs: 90_000,
  readTimeoutMs: 10_000,
  writeTimeoutMs: 30_000,
  minPollMs: 1_000,
  catalogueMs: 10 * 60_000,
  serverMs: 3_000,
  closeMs: 10_000,
} satisfies GateTiming;

/** user_data may have 32 KiB, which JSON can make six times as long. */
const maxBodyBytes = 256 * 1024;

const gateClosed = errorReply(503, "unavailable", "the gate is closed");

/** Starts the gate. @throws when the port cannot be had. */
export async function createGate(options: GateOptions): Promise<Gate> {
  const { ledger, budget, log, clock = systemClock } = options;
  const timing: GateTiming = { ...defaultTiming, ...options.timing };
  const upstream = createWire({ ...options.upstream, ...timing, budget, clock });
  const wire: Wire = {
    // Asked before each try: a daemon that was stopped for a minute goes on in the middle of its repeats.
    async send(call, until) {
      if (call.method === "GET" || ledger.leads()) return upstream.send(call, until);
      return { kind: "unsent", reason: "another daemon has taken over" };
    },
  };
  const runs = createRuns();
  const polls = createPolls({ clock, minPollMs: timing.minPollMs, deadlineMs: timing.deadlineMs });
  const memory = createMemory({
    clock,
    catalogueMs: timing.catalogueMs,
    serverMs: timing.serverMs,
    busy: polls.busy,
  });
  /** The order of a name that is under way: a second one waits, then is judged by what the first one left. */
  const ordering = new Map<string, Promise<unknown>>();
  const underWay = new Set<Promise<void>>();
  let closesAt: number | null = null;

  const rowOf = (permit: JudgedPermit | null): Row =>
    permit?.kind === "machine" ? ledger.machine(permit.machine) : null;

  /** A machine that exists is being paid for: its run is not held up by the reserve that new orders leave. */
  const priorityOf = (run: Run, row: Row): Priority =>
    row && row.serverId !== null && run.permit.priority === "refill" ? "destroy" : run.permit.priority;

  function wireOf(run: Run): Wire {
    return {
      async send(call, until) {
        const sent = await wire.send(call, until);
        if (sent.kind !== "unsent") run.upstream += 1;
        return sent;
      },
    };
  }

  async function answer(
    run: Run,
    method: string,
    path: string,
    request: GateRequest,
    body: string,
  ): Promise<Reply> {
    if (closesAt !== null) return gateClosed;
    const permit = judge(run.permit, request, (id) => ledger.machineByServerId(id)?.name ?? null);
    const row = rowOf(permit);
    const decision = permit ? decide(permit, request, row) : unnamed;
    if (!decision.allowed) {
      const { status, code, reason } = decision;
      ledger.recordRefusal(permit ?? run.permit, `${method} ${path}`, reason);
      log.warn({ run: run.permit, request: `${method} ${path}`, reason }, "gate: refused");
      return errorReply(status, code, reason);
    }
    const until = clock.now() + timing.deadlineMs;
    const deadline: Deadline = () => Math.min(until, closesAt ?? until);
    const context = {
      wire: wireOf(run),
      clock,
      deadline,
      priority: priorityOf(run, row),
      repaired(what: string) {
        ledger.recordRepair?.(permit ?? run.permit, what);
        log.warn({ run: run.permit }, `gate: ${what}`);
      },
    };
    const repeat = async (verb: "GET" | "PUT", content?: string): Promise<Reply> => {
      const call: Call = { method: verb, path, body: content, priority: context.priority };
      return replyOf(`${verb} ${path}`, await sendRepeatedly(context.wire, clock, call, deadline));
    };
    switch (request.kind) {
      case "actions":
        return polls.ask(request.ids, request.single, context);
      case "read-server":
        return memory.readServer(request.id, () => repeat("GET"));
      case "read":
        return memory.read(path, run.permit, () => repeat("GET"));
      case "create-server": {
        const { order } = request;
        if (!order) return errorReply(400, "json_error", "no server order");
        const record = (id: number) => ledger.recordServerId(order.name, id);
        const reply = await createServer(order, body, { ...context, record });
        // A refused order may mean that something which we remember has changed.
        if (reply.status >= 400) memory.forgetAll();
        return learn(reply);
      }
      case "update-server": {
        memory.forgetServer(request.id);
        const reply = learn(await repeat("PUT", body));
        memory.forgetServer(request.id);
        memory.keepServer(request.id, reply);
        return reply;
      }
      case "delete-server": {
        memory.forgetServer(request.id);
        const reply = learn(await deleteServer(request.id, context));
        memory.forgetServer(request.id);
        return reply;
      }
      case "server-action": {
        memory.forgetServer(request.id);
        const reply = learn(await once(path, body, context));
        memory.forgetServer(request.id);
        return reply;
      }
      case "platform-create":
      case "platform-update":
      case "platform-delete":
      case "platform-action": {
        memory.forgetCollection(request.collection);
        const reply = learn(
          request.kind === "platform-update"
            ? await repeat("PUT", body)
            : request.kind === "platform-delete"
              ? await deleteResource(path, context)
              : await once(path, body, context),
        );
        memory.forgetCollection(request.collection);
        return reply;
      }
      case "unknown":
        throw new Error(`permit given to ${path}`);
    }
  }

  /** A write that may not be made twice: repeated only when it was refused unread (429). */
  async function once(
    path: string,
    body: string,
    context: { wire: Wire; deadline: Deadline; priority: Priority },
  ): Promise<Reply> {
    const { deadline, priority } = context;
    const pauses = createPauses(clock, deadline);
    const call: Call = { method: "POST", path, body: body === "" ? undefined : body, priority };
    for (;;) {
      const sent = await context.wire.send(call, deadline());
      if (sent.kind === "answer" && sent.status === 429 && (await pauses.pause(sent.retryAfterMs ?? 0)))
        continue;
      return replyOf(`POST ${path}`, sent);
    }
  }

  /** Every action that a write answers with is known to the poller before terraform asks for it. */
  function learn(reply: Reply): Reply {
    const parsed = writeAnswer.safeParse(reply.status < 300 ? json(reply) : undefined);
    if (!parsed.success) return reply;
    const { action, actions, next_actions } = parsed.data;
    const all = [...(action ? [action] : []), ...(actions ?? []), ...(next_actions ?? [])];
    if (all.length > 0) polls.ingest(all);
    return reply;
  }

  async function handle(message: IncomingMessage): Promise<Reply> {
    const run = runs.find(message.headers.authorization);
    if (closesAt !== null) return gateClosed;
    if (!run) return errorReply(401, "unauthorized", "the token you have provided is invalid");
    run.asked += 1;
    const url = new URL(message.url ?? "/", "http://gate");
    const method = message.method ?? "";
    // Hetzner's paths are plain words and numbers; anything else (percent signs, empty segments) is not one.
    const plain = /^\/v1((?:\/[a-z_0-9]+)+)$/.exec(url.pathname)?.[1];
    let body: string;
    try {
      body = await getRawBody(message, { limit: maxBodyBytes, encoding: "utf8" });
    } catch {
      return errorReply(
        413,
        "invalid_input",
        `the request is cut short or longer than ${maxBodyBytes} bytes`,
      );
    }
    const request: GateRequest = plain
      ? classify(method, plain, url.searchParams, body)
      : { kind: "unknown" };
    const path = plain ? `${plain}${url.search}` : url.pathname;
    if (request.kind !== "create-server" || !request.order) return answer(run, method, path, request, body);
    const { name } = request.order;
    const turn = (ordering.get(name) ?? Promise.resolve()).then(() =>
      answer(run, method, path, request, body),
    );
    const settled = turn.catch(() => {});
    ordering.set(name, settled);
    void settled.then(() => ordering.get(name) === settled && ordering.delete(name));
    return turn;
  }

  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    let reply: Reply;
    try {
      reply = await handle(message);
    } catch (error) {
      log.error({ err: error, request: `${message.method} ${message.url}` }, "gate: request failed");
      reply = errorReply(500, "server_error", "the gate could not do this; its log says why");
    }
    if (response.destroyed) return;
    response.statusCode = reply.status;
    if (reply.contentType) response.setHeader("content-type", reply.contentType);
    if (reply.correlationId) response.setHeader("x-correlation-id", reply.correlationId);
    response.end(reply.status === 204 ? undefined : reply.body);
  }

  const server = createHttpServer((message, response) => {
    const work = serve(message, response);
    underWay.add(work);
    void work.finally(() => underWay.delete(work));
  });
  const { host = "127.0.0.1", port = 0 } = options;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const endpoint = `http://${host}:${(server.address() as AddressInfo).port}/v1`;
  let closing: Promise<void> | null = null;

  return {
    endpoint,
    openRun: (permit) => runs.open(permit, endpoint),
    deleteServer: deleteThroughGate,
    deleteOrphan(orphan) {
      const until = clock.now() + timing.deadlineMs;
      return deleteOrphan(orphan, {
        wire,
        clock,
        ledger,
        deadline: () => Math.min(until, closesAt ?? until),
        priority: "person",
        repaired: (what) => log.warn({ orphan }, `gate: ${what}`),
      });
    },
    power: powerThroughGate,
    close() {
      closing ??= (async () => {
        closesAt = clock.now() + timing.closeMs;
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeIdleConnections();
        polls.close();
        // An order under way is seen through, so that the ledger knows what was bought.
        await Promise.all(underWay);
        runs.closeAll();
        server.closeAllConnections();
        await closed;
      })();
      return closing;
    },
  };
}

const writeAnswer = z.object({
  action: actionShape.nullish(),
  actions: z.array(actionShape).nullish(),
  next_actions: z.array(actionShape).nullish(),
});
