/**
 * The local cloud's own routes, for people, for tests in other processes, and for machines that are folders. No token:
 * they are on loopback.
 */
import type Router from "@koa/router";
import type { Context } from "koa";
import { ZodError, z } from "zod";
import type { AppParts } from "./app.ts";
import { ApiFailure, readJson } from "./failure.ts";
import { disturb, type FaultInput } from "./faults.ts";
import type { SimulatedControl } from "./simulated.ts";

/**
 * `GET /_local/calls`, `GET | POST | DELETE /_local/faults`, `DELETE /_local/faults/{id}`,
 * `POST /_local/clock {advanceMs}`, `POST /_local/clients {scopes, tags}` → `{id, secret}`, `GET /_local/deliveries`.
 */
export function localRoutes(
  router: Router,
  {
    calls,
    faults,
    oauth,
    webhooks,
    advance,
  }: Pick<AppParts, "calls" | "faults" | "oauth" | "webhooks" | "advance">,
): void {
  router.get("/calls", (ctx) => {
    ctx.body = { calls };
  });
  router.get("/deliveries", (ctx) => {
    ctx.body = { deliveries: webhooks.deliveries };
  });
  router.get("/faults", async (ctx) => {
    ctx.body = { faults: await faults.list() };
  });
  router.post("/faults", async (ctx) => {
    const body = await readJson(ctx.req, z.unknown());
    try {
      ctx.body = { id: await faults.add(body as FaultInput) };
      ctx.status = 201;
    } catch (error) {
      if (error instanceof ZodError || error instanceof RangeError) throw new ApiFailure(422, error.message);
      throw error;
    }
  });
  router.delete("/faults", async (ctx) => {
    await faults.clear();
    ctx.status = 204;
  });
  router.delete("/faults/:id", async (ctx) => {
    if (!(await faults.remove(Number(ctx.params.id)))) throw new ApiFailure(404, `no fault ${ctx.params.id}`);
    ctx.status = 204;
  });
  router.post("/clock", async (ctx) => {
    const { advanceMs } = await readJson(ctx.req, z.object({ advanceMs: z.number().min(0) }));
    await advance(advanceMs);
    ctx.status = 204;
  });
  router.post("/clients", async (ctx) => {
    const shape = z.object({ scopes: z.array(z.string()), tags: z.array(z.string()).default([]) });
    const { id, secret } = oauth.createClient(await readJson(ctx.req, shape));
    ctx.body = { id, secret };
  });
}

/**
 * What machines that are folders do instead of running tailscaled:
 * `POST /_local/register {authKey, hostname, machineKey?}` → `{nodeId, name, addresses}` or 403,
 * `POST /_local/logout {nodeId}`, `POST /_local/presence {nodeId, online, advertisedRoutes?}`,
 * `GET /_local/nodes/{nodeId}?after=V` → `{version, state, peers}`, when newer than V or after 25 s.
 *
 * Faults of the control server meet them as they meet tailscaled: register and logout stand for `/machine/register`,
 * presence for `/machine/map`.
 */
export function machineRoutes(
  router: Router,
  { faults, clock, signal }: Pick<AppParts, "faults" | "clock" | "signal">,
  control: SimulatedControl,
): void {
  const disturbed = (path: string, handle: (ctx: Context) => Promise<void>) => async (ctx: Context) => {
    if (faults.isDown()) return disturb(ctx, { kind: "drop", when: "before" });
    const { delays, effect } = faults.take("control", "POST", path);
    for (const { ms, removed } of delays) await clock.delay(ms, AbortSignal.any([removed, signal]));
    if (effect?.when !== "before") await handle(ctx);
    if (effect) disturb(ctx, effect);
  };
  const known = (ctx: Context, done: boolean) => {
    if (!done) throw new ApiFailure(404, "no such node");
    ctx.status = 204;
  };
  const registration = z.object({
    authKey: z.string(),
    hostname: z.string(),
    machineKey: z.string().optional(),
  });
  const presence = z.object({
    nodeId: z.string(),
    online: z.boolean(),
    advertisedRoutes: z.array(z.string()).optional(),
  });
  router.post(
    "/register",
    disturbed("/machine/register", async (ctx) => {
      const { authKey, hostname, machineKey } = await readJson(ctx.req, registration);
      const machine = machineKey === undefined ? {} : { machineKey };
      const answer = control.register({ authKey, hostname, ...machine }, faults.takeName());
      if ("error" in answer) throw new ApiFailure(403, answer.error);
      ctx.body = answer;
    }),
  );
  router.post(
    "/logout",
    disturbed("/machine/register", async (ctx) => {
      const { nodeId } = await readJson(ctx.req, z.object({ nodeId: z.string() }));
      known(ctx, control.logout(nodeId));
    }),
  );
  router.post(
    "/presence",
    disturbed("/machine/map", async (ctx) => {
      const { nodeId, online, advertisedRoutes } = await readJson(ctx.req, presence);
      known(ctx, control.setOnline(nodeId, online, advertisedRoutes));
    }),
  );
  router.get("/nodes/:id", async (ctx) => {
    const after = ctx.query.after === undefined ? undefined : Number(ctx.query.after);
    ctx.body = await control.node(String(ctx.params.id), after, signal);
  });
}
