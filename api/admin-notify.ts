/** The admin socket's routes about messages that are to be told: what is undelivered, tests, another try. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import { z } from "zod";
import type { Sender } from "../pool/notify/sender.ts";
import type { Store } from "../pool/store/store.ts";
import { checked, readJson } from "./body.ts";
import { Problem } from "./problem.ts";

const actor = z.string().min(1).max(100);
const id = z.string().min(1).max(100);
const testShape = z.strictObject({ actor });
const retryShape = z.strictObject({ id: id.nullable(), actor });
const dropShape = z.strictObject({ id, actor });

export function notifyRoutes(
  store: Pick<Store, "messages">,
  { test, retry, drop }: Pick<Sender, "test" | "retry" | "drop">,
): Middleware {
  const router = new Router();
  router.get("/messages", (context) => {
    const isAll = context.query.all === "true";
    context.body = store.messages(isAll ? {} : { states: ["waiting", "given-up"] });
  });
  router.post("/messages/test", async (context) => {
    const asked = checked(testShape, await readJson(context, 4 * 1024));
    context.body = await test(asked.actor);
  });
  router.post("/messages/retry", async (context) => {
    const asked = checked(retryShape, await readJson(context, 4 * 1024));
    context.body = found(asked.id, retry(asked.id, asked.actor));
  });
  router.post("/messages/drop", async (context) => {
    const asked = checked(dropShape, await readJson(context, 4 * 1024));
    context.body = found(asked.id, drop(asked.id, asked.actor));
  });
  return router.routes() as Middleware;
}

/** @throws Problem 404 when the one that was named is not among those that wait or were given up */
function found(asked: string | null, ids: readonly string[]): { ids: readonly string[] } {
  if (asked === null || ids.length > 0) return { ids };
  const detail = `there is no message ${asked} that was tried and not delivered; \`clawpool notify\` lists them`;
  throw new Problem({ status: 404, code: "no-such-message", title: "Nothing was done", detail });
}
