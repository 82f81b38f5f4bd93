/**
 * The daemon's own look at Hetzner Cloud: reads only. Everything that costs money or destroys goes through
 * terraform and the gate; this client shares the gate's API budget.
 */
import { z } from "zod";
import { type Clock, systemClock } from "../clock.ts";
import { BorderError } from "../errors.ts";
import type { Secret } from "../secrets/secret.ts";
import type { Budget, Priority } from "./budget.ts";
import type { Cloud } from "./cloud.ts";
import { borderError, noAnswer } from "./errors.ts";
import { priceListShape } from "./prices.ts";
import {
  type CloudResource,
  cloudResource,
  collectionOf,
  type ResourceKind,
  resourceShape,
} from "./resources.ts";
import { cloudServer, errorOf, paginationShape, serverShape, serverTypeShape } from "./shapes.ts";
import { type Answer, createWire, json, sendRepeatedly } from "./wire.ts";

export interface CloudOptions {
  /** Ends in `/v1`. */
  readonly endpoint: string;
  readonly token: Secret;
  readonly budget: Budget;
  readonly clock?: Clock;
  /** Place in the API budget; default `destroy`: its calls decide what may be closed or adopted. */
  readonly priority?: Priority;
  /** How long a call is repeated on 429, 5xx and cut connections; default 30 s. */
  readonly deadlineMs?: number;
}

/** Largest page that Hetzner gives. */
const perPage = 50;
/** A project that needs more pages than this is not ours; it also ends the loop on an API that counts wrongly. */
const maxPages = 200;

/**
 * @throws BorderError (border `cloud`) from every method: the kind by Hetzner's code, `transient`/`no_answer` when
 * there was none, `permanent`/`unexpected_answer` when it is not shaped as described.
 */
export function createCloud(options: CloudOptions): Cloud {
  const { clock = systemClock, priority = "destroy", deadlineMs = 30_000 } = options;
  const wire = createWire({ ...options, clock });

  async function get(path: string): Promise<Answer> {
    const deadline = clock.now() + deadlineMs;
    const sent = await sendRepeatedly(wire, clock, { method: "GET", path, priority }, () => deadline);
    if (sent.kind !== "answer") throw noAnswer(`GET ${path}`, sent.reason);
    return sent;
  }

  function parse<T>(path: string, answer: Answer, shape: z.ZodType<T>): T {
    if (answer.status !== 200) {
      throw borderError(`GET ${path}`, {
        status: answer.status,
        ...errorOf(answer),
        retryAfterMs: answer.retryAfterMs ?? undefined,
      });
    }
    return check(path, json(answer), shape);
  }

  function check<T>(path: string, value: unknown, shape: z.ZodType<T>): T {
    const parsed = shape.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new BorderError(`GET ${path}: unexpected answer: ${z.prettifyError(parsed.error)}`, {
      border: "cloud",
      kind: "permanent",
      code: "unexpected_answer",
    });
  }

  /** Only Hetzner's own "not found" counts: a bare 404 of something in between must not close a row. */
  async function single(path: string): Promise<Answer | null> {
    const answer = await get(path);
    return answer.status === 404 && errorOf(answer).code === "not_found" ? null : answer;
  }

  async function list<T>(key: string, query: URLSearchParams, item: z.ZodType<T>): Promise<T[]> {
    const found: T[] = [];
    for (let page: number | null = 1; page !== null; ) {
      query.set("page", String(page));
      query.set("per_page", String(perPage));
      const path = `/${key}?${query}`;
      const answer = await get(path);
      const body = parse(path, answer, z.record(z.string(), z.unknown()));
      found.push(...check(path, body[key], z.array(item)));
      const next: number | null = check(path, body, paginationShape).meta.pagination.next_page ?? null;
      if (next !== null && (next <= page || next > maxPages)) {
        throw new BorderError(`GET ${path}: next page ${next}`, {
          border: "cloud",
          kind: "permanent",
          code: "unexpected_answer",
        });
      }
      page = next;
    }
    return found;
  }

  return {
    async server(id) {
      const path = `/servers/${id}`;
      const answer = await single(path);
      return answer && cloudServer(parse(path, answer, z.object({ server: serverShape })).server);
    },
    async serverByName(name) {
      const servers = await list("servers", new URLSearchParams({ name }), serverShape);
      const server = servers.find((candidate) => candidate.name === name);
      return server ? cloudServer(server) : null;
    },
    async servers(labelSelector) {
      const query = new URLSearchParams({ label_selector: labelSelector });
      return (await list("servers", query, serverShape)).map(cloudServer);
    },
    async resource(kind, id): Promise<CloudResource | null> {
      const { path: collection, key } = collectionOf(kind);
      const path = `/${collection}/${id}`;
      const answer = await single(path);
      if (!answer) return null;
      const body = parse(path, answer, z.record(z.string(), z.unknown()));
      return cloudResource(kind, check(path, body[key], resourceShape));
    },
    async resources(kind: ResourceKind, labelSelector: string) {
      const { path, query } = collectionOf(kind);
      const asked = new URLSearchParams({ ...query, label_selector: labelSelector });
      return (await list(path, asked, resourceShape)).map((shown) => cloudResource(kind, shown));
    },
    async serverTypes() {
      const types = await list("server_types", new URLSearchParams(), serverTypeShape);
      return types.map((type) => ({
        name: type.name,
        availableIn: type.locations.filter((location) => location.available).map((location) => location.name),
      }));
    },
    async locations() {
      const locations = await list("locations", new URLSearchParams(), z.object({ name: z.string() }));
      return locations.map((location) => location.name);
    },
    async prices() {
      const path = "/pricing";
      return parse(path, await get(path), z.object({ pricing: priceListShape })).pricing;
    },
  };
}
