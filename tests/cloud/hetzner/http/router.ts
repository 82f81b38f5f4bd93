import type { Context } from "../context.ts";
import { ApiError } from "./errors.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** A request that is known to be authenticated; `path` is below /v1. */
export interface ApiRequest {
  readonly method: Method;
  readonly path: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The parsed JSON body; undefined when there was none. */
  readonly body: unknown;
  readonly project: number;
}

export interface Answer {
  readonly status: number;
  /** Left out only with 204. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Route {
  readonly method: Method;
  /** As in Hetzner's API description, e.g. `/servers/{id}/actions/poweron`. */
  readonly path: string;
  readonly handle: (context: Context, request: ApiRequest) => Answer | Promise<Answer>;
}

export interface Match {
  readonly route: Route;
  readonly parameters: Readonly<Record<string, string>>;
}

interface Compiled {
  readonly route: Route;
  readonly segments: readonly string[];
  readonly wildcards: number;
}

const isParameter = (segment: string) => segment.startsWith("{");

/** Finds the route of a request; fixed segments win over parameters (`/servers/actions` over `/servers/{id}`). */
export class Router {
  readonly #compiled: Compiled[];

  constructor(routes: readonly Route[]) {
    this.#compiled = routes
      .map((route) => {
        const segments = route.path.split("/");
        return { route, segments, wildcards: segments.filter(isParameter).length };
      })
      .sort((a, b) => a.wildcards - b.wildcards);
  }

  /** @throws ApiError 404 when no route has the path, 405 when one has it with another method. */
  match(method: string, path: string): Match {
    const wanted = path.split("/");
    let pathKnown = false;
    for (const { route, segments } of this.#compiled) {
      if (segments.length !== wanted.length) continue;
      const parameters: Record<string, string> = {};
      const fits = segments.every((segment, index) => {
        const value = wanted[index] ?? "";
        if (!isParameter(segment)) return segment === value;
        parameters[segment.slice(1, -1)] = value;
        // `…/actions/add_service` is a route of its own that is missing, not the action with that id.
        return segment === "{action_id}" ? /^[0-9]+$/.test(value) : value !== "";
      });
      if (!fits) continue;
      if (route.method === method) return { route, parameters };
      pathKnown = true;
    }
    if (pathKnown) throw new ApiError(405, "method_not_allowed", "The request method is not allowed");
    throw new ApiError(404, "not_found", "api route not found");
  }
}
