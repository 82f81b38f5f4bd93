/**
 * The gate without its socket: the production code decides, orders, deletes and looks lost answers up; only the HTTP
 * between terraform and gate is left out. It dies with its daemon, and terraform then finds nobody to talk to.
 */
import type { Gate, GateLedger, RunPermit } from "../../../pool/cloud/cloud.ts";
import { assertTaken } from "../../../pool/cloud/errors.ts";
import { createServer } from "../../../pool/cloud/gate/create.ts";
import { deleteServer } from "../../../pool/cloud/gate/delete.ts";
import { deleteOrphan } from "../../../pool/cloud/gate/orphan.ts";
import { decide, judge, unnamed } from "../../../pool/cloud/gate/permits.ts";
import { errorReply, type Reply } from "../../../pool/cloud/gate/reply.ts";
import type { GateRequest } from "../../../pool/cloud/gate/request.ts";
import type { Wire } from "../../../pool/cloud/wire.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import { type Incarnation, Killed } from "../incarnation.ts";
import type { World } from "../world.ts";

/** terraform's call found nobody: the daemon behind the gate is dead. */
export class GateGone extends Error {
  override readonly name = "GateGone";
}

export interface SimGate extends Gate {
  /** What a terraform process sends. @throws GateGone */
  ask(token: string, request: GateRequest, body: string): Promise<Reply>;
}

const deadlineMs = 90_000;

export function simulatedGate(world: World, life: Incarnation, ledger: GateLedger, upstream: Wire): SimGate {
  const runs = new Map<string, RunPermit>();
  const { clock } = life;
  const wire: Wire = {
    async send(call, until) {
      if (call.method !== "GET" && !ledger.leads())
        return { kind: "unsent", reason: "another daemon has taken over" };
      return life.call(() => upstream.send(call, until));
    },
  };

  async function answer(permit: RunPermit, request: GateRequest, body: string): Promise<Reply> {
    const judged = judge(permit, request, (id) => ledger.machineByServerId(id)?.name ?? null);
    const row = judged?.kind === "machine" ? ledger.machine(judged.machine) : null;
    const decision = judged ? decide(judged, request, row) : unnamed;
    if (!decision.allowed) {
      ledger.recordRefusal(permit, request.kind, decision.reason);
      return errorReply(decision.status, decision.code, decision.reason);
    }
    const until = clock.now() + deadlineMs;
    const shared = {
      wire,
      clock,
      deadline: () => until,
      priority: "refill",
      repaired: (what: string) => world.note(`gate: ${what}`),
    } as const;
    switch (request.kind) {
      case "create-server": {
        if (!request.order || judged?.kind !== "machine") throw world.unknown("an order without a name");
        const { machine } = judged;
        return createServer(request.order, body, {
          ...shared,
          record: (id) => ledger.recordServerId(machine, id),
        });
      }
      case "delete-server":
        return deleteServer(request.id, shared);
      case "server-action": {
        const path = `/servers/${request.id}/actions/${request.action}`;
        const sent = await wire.send({ method: "POST", path, priority: "destroy" }, until);
        if (sent.kind !== "answer") return errorReply(503, "unavailable", sent.reason);
        return { status: sent.status, contentType: sent.contentType, correlationId: null, body: sent.body };
      }
      case "update-server":
      case "read-server": {
        const [method, path] =
          request.kind === "read-server" ? ["GET", request.path] : ["PUT", `/servers/${request.id}`];
        for (;;) {
          const sent = await wire.send({ method, path, body, priority: "refill" } as never, until);
          if (sent.kind === "answer" && sent.status !== 503 && sent.status !== 429) {
            return {
              status: sent.status,
              contentType: sent.contentType,
              correlationId: null,
              body: sent.body,
            };
          }
          if (clock.now() > until) return errorReply(503, "unavailable", "no answer before the deadline");
          await clock.delay(1_000);
        }
      }
      default:
        throw world.unknown(`the simulated terraform does not ask for ${request.kind}`);
    }
  }

  return {
    endpoint: "http://gate/v1",
    openRun(permit) {
      const token = String(world.id());
      runs.set(token, permit);
      return {
        endpoint: "http://gate/v1",
        token: new Secret(token),
        counts: () => ({ upstream: 0, asked: 0 }),
        close: () => runs.delete(token),
      };
    },
    async deleteServer(run, serverId) {
      const reply = await life.call(() =>
        this.ask(run.token.expose(), { kind: "delete-server", id: serverId }, ""),
      );
      if (reply.status !== 404) assertTaken(`DELETE server ${serverId}`, reply);
    },
    deleteOrphan: (orphan) =>
      life.call(() => {
        const until = clock.now() + deadlineMs;
        const repaired = (what: string) => world.note(`gate: ${what}`);
        return deleteOrphan(orphan, {
          wire,
          clock,
          ledger,
          deadline: () => until,
          priority: "person",
          repaired,
        });
      }),
    async power(run, serverId, action) {
      const reply = await life.call(() =>
        this.ask(run.token.expose(), { kind: "server-action", id: serverId, action }, ""),
      );
      assertTaken(`${action} of server ${serverId}`, reply);
    },
    close: async () => runs.clear(),
    async ask(token, request, body) {
      const gone = life.died.then(() => {
        throw new GateGone("connection refused");
      });
      gone.catch(() => {});
      await life.awake();
      const permit = runs.get(token);
      if (life.dead || !permit) throw new GateGone("connection refused");
      try {
        return await Promise.race([answer(permit, request, body), gone]);
      } catch (error) {
        if (error instanceof Killed) throw new GateGone("connection reset");
        throw error;
      }
    },
  };
}
