import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Context } from "../context.ts";
import { documentedErrors } from "../faults/errors.ts";
import { serverInPath, traitsOfRequest } from "../faults/subject.ts";
import type { Faults, Struck, TerminalEffect } from "../faults.ts";
import { removeServer } from "../resources/servers.ts";
import { readJson } from "./body.ts";
import { ApiError } from "./errors.ts";
import type { RateLimit } from "./rate-limit.ts";
import type { Answer, Method, Router } from "./router.ts";
import type { Access, Tokens } from "./tokens.ts";

export interface PipelineParts {
  readonly context: Context;
  readonly router: Router;
  readonly rateLimit: RateLimit;
  readonly faults: Faults;
  readonly tokens: Tokens;
  /** Ends delays when the emulator closes. */
  readonly signal: AbortSignal;
}

export interface Outcome {
  /** Null: the connection is to be cut. */
  readonly answer: Answer | null;
  readonly route: string | null;
  readonly project: number | null;
  /** Id of the fault that hit it. */
  readonly fault: number | null;
}

type Body = { readonly value: unknown } | { readonly error: ApiError };

interface Received {
  readonly method: string;
  /** Below /v1; null when it is not below it. */
  readonly path: string | null;
  readonly query: URLSearchParams;
  readonly body: Body;
  readonly access: Access | null;
  readonly authorization: string | undefined;
}

/**
 * One request below /v1, in the API's order: rate limit, route, token, body; the faults around it.
 * @param url null when the request's target is none
 */
export async function respond(
  parts: PipelineParts,
  request: IncomingMessage,
  url: URL | null,
): Promise<Outcome> {
  const { context, faults, signal } = parts;
  const { authorization } = request.headers;
  const received: Received = {
    method: request.method ?? "",
    path: url?.pathname.startsWith("/v1/") ? url.pathname.slice(3) : null,
    query: url?.searchParams ?? new URLSearchParams(),
    body: await bodyOf(request),
    access: parts.tokens.find(authorization),
    authorization,
  };
  const project = received.access?.project ?? null;
  const limit = parts.rateLimit.take(project);
  const struck = strike(context, faults, received, project);
  if (struck.delays.before > 0) await context.clock.delay(struck.delays.before, signal);
  const pathId = struck.vanishes && serverInPath(received.path ?? "");
  if (pathId !== null) await vanish(context, project, pathId, struck.vanishes);

  const route: { path: string | null } = { path: null };
  let answer: Answer | null;
  if (struck.effect?.when === "before") answer = faultAnswer(struck.effect);
  else {
    answer = await carryOut(parts, received, limit, route);
    const made = struck.vanishes && pathId === null ? idOfMadeServer(answer) : null;
    if (made !== null) await vanish(context, project, made, struck.vanishes);
    if (struck.keep !== null) answer = shorten(answer, struck.keep);
    if (struck.delays.after > 0) await context.clock.delay(struck.delays.after, signal);
    if (struck.effect) answer = faultAnswer(struck.effect);
  }
  // Clients show it behind the code of an error, for Hetzner's support to look up.
  const correlation = { "X-Correlation-Id": randomBytes(8).toString("hex") };
  return {
    answer: answer && { ...answer, headers: { ...correlation, ...limit.headers, ...answer.headers } },
    route: route.path,
    project,
    fault: struck.id,
  };
}

async function bodyOf(request: IncomingMessage): Promise<Body> {
  try {
    return { value: await readJson(request) };
  } catch (error) {
    if (error instanceof ApiError) return { error };
    throw error;
  }
}

function strike(context: Context, faults: Faults, received: Received, project: number | null): Struck {
  const { method, query } = received;
  const path = received.path ?? "";
  const body = "value" in received.body ? received.body.value : undefined;
  const server = traitsOfRequest(context.store, { method, path, body, project });
  return faults.onRequest({ project, method, path, query, body, server });
}

async function carryOut(
  parts: PipelineParts,
  { method, path, query, body, access, authorization }: Received,
  limit: ReturnType<RateLimit["take"]>,
  route: { path: string | null },
): Promise<Answer> {
  try {
    if (!limit.allowed) {
      const perHour = limit.headers["RateLimit-Limit"];
      throw new ApiError(429, "rate_limit_exceeded", `limit of ${perHour} requests per hour reached`);
    }
    if (path === null) throw new ApiError(404, "not_found", "api route not found");
    const match = parts.router.match(method, path);
    route.path = match.route.path;
    if (!access) throw unauthorized(authorization);
    if (!access.write && method !== "GET") {
      throw new ApiError(401, "token_readonly", documentedErrors.token_readonly.message);
    }
    if ("error" in body) throw body.error;
    return await match.route.handle(parts.context, {
      method: match.route.method as Method,
      path,
      parameters: match.parameters,
      query,
      body: body.value,
      project: access.project,
    });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { status: error.status, body: error.toBody() };
  }
}

/** Wording as the API answers it. */
function unauthorized(authorization: string | undefined): ApiError {
  const message =
    authorization === undefined ? "token is required" : "the token you have provided is invalid";
  return new ApiError(401, "unauthorized", message);
}

async function vanish(
  context: Context,
  project: number | null,
  id: number,
  what: Struck["vanishes"],
): Promise<void> {
  const server = project === null ? null : context.store.get("server", project, id);
  if (!server) return;
  if (what === "machine") await context.backend.vanish(id);
  else await removeServer(context, server);
}

function idOfMadeServer({ status, body }: Answer): number | null {
  const { server } = (status === 201 ? body : {}) as { server?: { id: number } };
  return server?.id ?? null;
}

/** Consistent in itself: a client can't see that something is missing. */
function shorten(answer: Answer, keep: number): Answer {
  const { body, headers: { Link: _link, ...headers } = {} } = answer;
  const { meta, ...lists } = (body ?? {}) as { meta?: { pagination: Record<string, unknown> } };
  if (!meta) return answer;
  const short = Object.entries(lists).map(([key, value]) => [
    key,
    Array.isArray(value) ? value.slice(0, keep) : value,
  ]);
  const kept = (Object.values(lists) as unknown[]).find(Array.isArray)?.length ?? 0;
  const pagination = {
    ...meta.pagination,
    next_page: null,
    last_page: meta.pagination.page,
    total_entries: Math.min(keep, kept),
  };
  return { ...answer, headers, body: { ...Object.fromEntries(short), meta: { pagination } } };
}

function faultAnswer(effect: TerminalEffect): Answer | null {
  switch (effect.kind) {
    case "drop":
      return null;
    case "answer":
      return {
        status: effect.status,
        ...(effect.error ? { body: { error: effect.error } } : {}),
        ...(effect.headers ? { headers: effect.headers } : {}),
      };
    case "error": {
      const known: { status: number; message: string; details?: object } = documentedErrors[effect.code];
      const { status, message, details = null } = known;
      const error = { code: effect.code, message: effect.message ?? message, details };
      return { status, ...(effect.bare ? {} : { body: { error } }) };
    }
  }
}
