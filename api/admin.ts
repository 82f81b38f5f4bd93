/**
 * What the commands of this machine's operator talk to: HTTP on a Unix socket in the state folder. Whoever can open the
 * socket (mode 0600) may ask; there is no token.
 */
import { chmodSync, rmSync } from "node:fs";
import Router from "@koa/router";
import Koa, { type Middleware } from "koa";
import type { Logger } from "pino";
import { z } from "zod";
import type { Bill } from "../pool/bill/bill.ts";
import { adminSocket } from "../pool/cli/admin-client.ts";
import type { ConfigWatch } from "../pool/config/watch.ts";
import type { Controller } from "../pool/controller.ts";
import { BorderError } from "../pool/errors.ts";
import type { MachineName, OrderId } from "../pool/machine/machine.ts";
import type { PoolStatus } from "../pool/observe/status.ts";
import type { OrderDesk } from "../pool/order/desk.ts";
import { orderPage, readOrderQuery } from "../pool/order/list.ts";
import { orderStory } from "../pool/order/story.ts";
import type { DestroyByName } from "../pool/people/confirmed-destroy.ts";
import { BusyError, type People } from "../pool/people/people.ts";
import type { StateRepair } from "../pool/people/state-repair.ts";
import { ReleaseError } from "../pool/recovery/release.ts";
import { UnknownPoolError } from "../pool/refill/stop.ts";
import type { Store } from "../pool/store/store.ts";
import type { StripeSweep } from "../pool/sweep/stripe.ts";
import type { Sweeps } from "../pool/sweep/sweeps.ts";
import { configRoutes } from "./admin-config.ts";
import { destroyRoutes } from "./admin-destroy.ts";
import { notifyRoutes } from "./admin-notify.ts";
import { holdRoutes } from "./admin-orders.ts";
import { reconcileRoutes } from "./admin-reconcile.ts";
import { stateRoutes } from "./admin-states.ts";
import { checked, readJson } from "./body.ts";
import { closeServer, createHttpServer } from "./http.ts";
import type { Plans } from "./plan.ts";
import { notFound, Problem, problems } from "./problem.ts";

export interface AdminOptions {
  readonly stateDir: string;
  readonly store: Store;
  readonly status: () => PoolStatus;
  readonly config: Pick<ConfigWatch, "path" | "reload">;
  readonly plans: Plans;
  /** @throws Problem when the query is none */
  readonly bill: (query: URLSearchParams) => Bill;
  readonly people: Pick<People, "begin" | "end">;
  readonly recovery: Controller["recovery"];
  readonly desk: Pick<OrderDesk, "retry" | "hold">;
  readonly stripeSweep: Pick<StripeSweep, "reconcile">;
  readonly sweeps: Pick<Sweeps, "reconcile">;
  readonly states: StateRepair;
  readonly destroyByName: DestroyByName;
  /** @throws UnknownPoolError */
  readonly resume: Controller["resume"];
  /** @throws UnknownPoolError */
  readonly rollout: Controller["rollout"];
  readonly notify: Pick<Controller["notify"], "test" | "retry" | "drop">;
  readonly log: Logger;
}

export interface Admin {
  readonly app: Koa;
  /** Takes the socket over from whoever has it; for the daemon that has the store's lease. */
  listen(): Promise<{ path: string; close(): Promise<void> }>;
}

export function createAdmin(options: AdminOptions): Admin {
  const { stateDir, people, desk, states, destroyByName, stripeSweep, sweeps, recovery } = options;
  const { log } = options;
  const app = new Koa();
  app.silent = true;
  app.use(problems(log));
  app.use(lookRoutes(options));
  app.use(peopleRoutes(people));
  app.use(reconcileRoutes(stripeSweep, sweeps));
  app.use(poolRoutes(options));
  app.use(stateRoutes(states));
  app.use(destroyRoutes(destroyByName));
  app.use(holdRoutes(desk));
  app.use(configRoutes(options.config));
  app.use(recoveryRoutes(recovery));
  app.use(notifyRoutes(options.store, options.notify));
  app.use(retryRoutes(desk));

  return {
    app,
    async listen() {
      const path = adminSocket(stateDir);
      // The lease says who is the daemon: whoever has the socket is dead, or hangs and could not be ended.
      rmSync(path, { force: true });
      const server = createHttpServer(app);
      // The socket is made inside listen(), at once: at no time can anybody else open it.
      const before = process.umask(0o177);
      const listening = new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(path, resolve);
      });
      process.umask(before);
      await listening;
      chmodSync(path, 0o600);
      return { path, close: () => closeServer(server) };
    },
  };
}

function lookRoutes({
  store,
  status,
  plans,
  bill,
}: Pick<AdminOptions, "store" | "status" | "plans" | "bill">): Middleware {
  const router = new Router();
  router.get("/plan", (context) => {
    const pool = context.URL.searchParams.get("pool");
    const found = plans(pool);
    if (pool !== null && found.length === 0) {
      const title = "There is no such pool";
      const detail = `there is no pool ${pool}; known: ${plans(null)
        .map((plan) => plan.pool)
        .join(", ")}`;
      throw new Problem({ status: 404, code: "unknown-pool", title, detail });
    }
    context.body = found;
  });
  router.get("/status", (context) => {
    context.body = status();
  });
  router.get("/bill", (context) => {
    context.body = bill(context.URL.searchParams);
  });
  router.get("/orders", (context) => {
    context.body = orderPage(store, readOrderQuery(context.URL.searchParams));
  });
  router.get("/orders/:id", (context) => {
    const story = orderStory(store, context.params.id as OrderId);
    if (!story) throw notFound();
    context.body = story;
  });
  router.get("/machines", (context) => {
    const healths = new Map(store.healths().map((health) => [health.machine, health]));
    context.body = store
      .machines({ live: true })
      .map((machine) => ({ ...machine, health: healths.get(machine.name) ?? null }));
  });
  router.get("/machines/:name", (context) => {
    const machine = store.machines().find(({ name }) => name === context.params.name);
    if (!machine) throw notFound();
    context.body = { ...machine, history: store.auditRows({ subject: machine.name, limit: 200 }) };
  });
  return router.routes() as Middleware;
}

const beginShape = z.strictObject({
  command: z.string().min(1).max(32),
  stacks: z.array(z.string().min(1).max(64)).max(1_000),
  actor: z.string().min(1).max(100),
});
const endShape = z.strictObject({ id: z.string().min(1).max(64), exitCode: z.int().nullable() });

function peopleRoutes(people: Pick<People, "begin" | "end">): Middleware {
  const router = new Router();
  router.post("/people/begin", async (context) => {
    const request = checked(beginShape, await readJson(context, 64 * 1024));
    try {
      context.body = people.begin(request);
    } catch (error) {
      if (error instanceof BusyError) {
        throw new Problem({ status: 409, code: "busy", title: "The machine is held", detail: error.message });
      }
      const detail = error instanceof Error ? error.message : String(error);
      throw new Problem({ status: 422, code: "stacks", title: "These stacks cannot be worked on", detail });
    }
  });
  router.post("/people/end", async (context) => {
    const { id, exitCode } = checked(endShape, await readJson(context, 64 * 1024));
    people.end(id, exitCode);
    context.body = {};
  });
  return router.routes() as Middleware;
}

const resumeShape = z.strictObject({
  pool: z.string().min(1).max(64).nullable(),
  actor: z.string().min(1).max(100),
});

const rolloutShape = resumeShape.extend({ action: z.enum(["pause", "resume"]) });

function poolRoutes({ resume, rollout }: Pick<AdminOptions, "resume" | "rollout">): Middleware {
  const router = new Router();
  const ofKnownPool = <Result>(work: () => Result): Result => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof UnknownPoolError)) throw error;
      const title = "There is no such pool";
      throw new Problem({ status: 404, code: "unknown-pool", title, detail: error.message });
    }
  };
  router.post("/resume", async (context) => {
    const { pool, actor } = checked(resumeShape, await readJson(context, 64 * 1024));
    context.body = ofKnownPool(() => resume(pool, actor));
  });
  router.post("/rollout", async (context) => {
    const { action, pool, actor } = checked(rolloutShape, await readJson(context, 64 * 1024));
    context.body = ofKnownPool(() => rollout(action, pool, actor));
  });
  return router.routes() as Middleware;
}

const retryShape = z.strictObject({ actor: z.string().min(1).max(100) });

function retryRoutes(desk: Pick<OrderDesk, "retry">): Middleware {
  const router = new Router();
  router.post("/orders/:id/retry", async (context) => {
    const { actor } = checked(retryShape, await readJson(context, 4 * 1024));
    context.body = await desk.retry(context.params.id as OrderId, actor);
  });
  return router.routes() as Middleware;
}

const lookShape = z.strictObject({ actor: z.string().min(1).max(100) });
const releaseShape = z.strictObject({
  machine: z.string().min(1).max(64).nullable(),
  retire: z.boolean(),
  serves: z.boolean(),
  actor: z.string().min(1).max(100),
});

function recoveryRoutes(recovery: Controller["recovery"]): Middleware {
  const router = new Router();
  router.get("/recovery", (context) => {
    context.body = recovery.status();
  });
  router.post("/recovery/look", async (context) => {
    const { actor } = checked(lookShape, await readJson(context, 4 * 1024));
    try {
      context.body = await recovery.look(actor);
    } catch (error) {
      if (error instanceof ReleaseError) throw notReleased(error);
      if (!(error instanceof BorderError)) throw error;
      const title = "Not all could be asked; nothing was concluded";
      throw new Problem({ status: 502, code: error.border, title, detail: `${title}: ${error.message}` });
    }
  });
  router.post("/recovery/release", async (context) => {
    const { machine, ...request } = checked(releaseShape, await readJson(context, 4 * 1024));
    try {
      context.body = recovery.release({ ...request, machine: machine as MachineName | null });
    } catch (error) {
      throw error instanceof ReleaseError ? notReleased(error) : error;
    }
  });
  return router.routes() as Middleware;
}

const notReleased = ({ message: detail }: ReleaseError): Problem =>
  new Problem({ status: 409, code: "not-released", title: "Nothing was released", detail });
