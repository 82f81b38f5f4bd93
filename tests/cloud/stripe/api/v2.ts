/** The part of API v2 that thin events need: events, and the destinations that they are sent to. JSON in and out. */
import { z } from "zod";
import { ApiError } from "../errors.ts";
import { makeEventDestination, thinEventOf } from "../objects/events.ts";
import type { EventDestinationObject, ThinEventObject } from "../objects/wire.ts";
import type { Account } from "../state/account.ts";
import { Destination } from "../state/destinations.ts";

/** One call of API v2. */
export interface CallV2 {
  readonly account: Account;
  readonly id: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

export type RouteV2 = readonly [method: "GET" | "POST" | "DELETE", path: string, (call: CallV2) => unknown];

const types = z.array(z.string().regex(/^(\*|[a-z0-9_]+(\.[a-z0-9_]+)+)$/)).min(1);
const metadata = z.record(z.string().max(40), z.string().max(500));

const newDestination = z.strictObject({
  name: z.string().min(1),
  description: z.string().optional(),
  type: z.literal("webhook_endpoint"),
  event_payload: z.enum(["snapshot", "thin"]),
  enabled_events: types,
  events_from: z.array(z.string()).optional(),
  snapshot_api_version: z.string().optional(),
  include: z.array(z.string()).optional(),
  metadata: metadata.optional(),
  webhook_endpoint: z.strictObject({ url: z.url({ protocol: /^https?$/ }) }),
});

const destinationChange = z.strictObject({
  name: z.string().min(1).optional(),
  description: z.string().optional(),
  enabled_events: types.optional(),
  include: z.array(z.string()).optional(),
  metadata: metadata.optional(),
  webhook_endpoint: z.strictObject({ url: z.url({ protocol: /^https?$/ }) }).optional(),
});

const root = "/v2/core/event_destinations";

export const routesV2: readonly RouteV2[] = [
  ["GET", "/v2/core/events/:id", ({ account, id }) => thinOf(account, id)],
  ["GET", "/v2/core/events", listEvents],
  ["POST", root, createDestination],
  ["GET", `${root}/:id`, (call) => shown(destinationOf(call), included(call))],
  ["POST", `${root}/:id`, updateDestination],
  ["DELETE", `${root}/:id`, deleteDestination],
  ["POST", `${root}/:id/disable`, (call) => setStatus(call, "disabled")],
  ["POST", `${root}/:id/enable`, (call) => setStatus(call, "enabled")],
  ["GET", root, listDestinations],
];

const missing = (what: string, id: string) =>
  new ApiError(404, { code: "not_found", message: `${what} ${id} was not found.` });

function thinOf(account: Account, id: string): ThinEventObject {
  const thin = account.events.map(thinEventOf).find((event) => event.id === id);
  if (!thin) throw missing("Event", id);
  return thin;
}

function listEvents(call: CallV2): unknown {
  const { account, query } = call;
  const object = query.get("object_id");
  const wanted = [...query].flatMap(([name, value]) => (/^types(\[\d*\])?$/.test(name) ? [value] : []));
  const since = query.get("created[gte]");
  const events = account.events
    .map(thinEventOf)
    .reverse()
    .filter(
      ({ related_object, type, created }) =>
        (object === null || related_object.id === object) &&
        (wanted.length === 0 || wanted.includes(type)) &&
        (since === null || created >= new Date(since).toISOString()),
    );
  return pageV2(call, events);
}

/** Pages by URL; `page` is how many came before. */
function pageV2({ path, query }: CallV2, all: readonly unknown[]): unknown {
  const number = (name: string, fallback: number, max: number) => {
    const value = Number(query.get(name) ?? fallback);
    if (Number.isInteger(value) && value >= 0 && value <= max) return value;
    throw invalid([name, `must be between 0 and ${max}`]);
  };
  const limit = number("limit", 20, 100);
  const from = number("page", 0, 1e9);
  const url = (page: number) => {
    const next = new URLSearchParams(query);
    next.set("page", String(page));
    return `${path}?${next}`;
  };
  return {
    data: all.slice(from, from + limit),
    next_page_url: from + limit < all.length ? url(from + limit) : null,
    previous_page_url: from > 0 ? url(Math.max(0, from - limit)) : null,
  };
}

function invalid(...problems: readonly (readonly [field: string, message: string])[]): ApiError {
  const message = problems.map(([field, text]) => `${field}: ${text}`).join("; ");
  return new ApiError(400, { code: "invalid_fields", message: message || "The request is invalid." });
}

function read<Shape extends z.ZodType>(shape: Shape, body: unknown): z.output<Shape> {
  const parsed = shape.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  throw invalid(...parsed.error.issues.map((issue) => [issue.path.join("."), issue.message] as const));
}

type Own = Destination & { readonly object: EventDestinationObject };

function destinationOf({ account, id }: CallV2): Own {
  const destination = account.destinations.get(id);
  if (destination?.object.object !== "v2.core.event_destination") throw missing("Event destination", id);
  return destination as Own;
}

const included = ({ query }: CallV2): string[] =>
  [...query].flatMap(([name, value]) => (/^include(\[\d*\])?$/.test(name) ? [value] : []));

/** URL and secret are shown only to who asks, the secret only where the destination is made. */
function shown(
  { object, url, secrets }: Own,
  include: readonly string[],
  made = false,
): EventDestinationObject {
  const endpoint = {
    ...(include.includes("webhook_endpoint.url") ? { url } : {}),
    ...(made && include.includes("webhook_endpoint.signing_secret")
      ? { signing_secret: secrets[0] ?? "" }
      : {}),
  };
  return { ...object, webhook_endpoint: endpoint };
}

function createDestination({ account, body }: CallV2): EventDestinationObject {
  const wanted = read(newDestination, body);
  const object = makeEventDestination({
    name: wanted.name,
    description: wanted.description ?? "",
    payload: wanted.event_payload,
    enabledEvents: wanted.enabled_events,
    metadata: wanted.metadata ?? {},
    now: account.now(),
  });
  const destination = new Destination(object, wanted.webhook_endpoint.url, account.now) as Own;
  account.destinations.set(object.id, destination);
  return shown(destination, wanted.include ?? [], true);
}

function updateDestination(call: CallV2): EventDestinationObject {
  const destination = destinationOf(call);
  const { webhook_endpoint, include, ...fields } = read(destinationChange, call.body);
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  Object.assign(destination.object, Object.fromEntries(given), { updated: timeOf(call) });
  if (webhook_endpoint) destination.url = webhook_endpoint.url;
  return shown(destination, include ?? []);
}

function setStatus(call: CallV2, status: "enabled" | "disabled"): EventDestinationObject {
  const destination = destinationOf(call);
  const { object } = destination;
  Object.assign(object, { status, updated: timeOf(call) });
  if (status === "disabled") object.status_details = { disabled: { reason: "user" } };
  else delete object.status_details;
  return shown(destination, []);
}

function deleteDestination(call: CallV2): unknown {
  const { object } = destinationOf(call);
  call.account.destinations.delete(object.id);
  return { id: object.id, object: object.object };
}

function listDestinations(call: CallV2): unknown {
  const all = [...call.account.destinations.values()].filter(
    (destination): destination is Own => destination.object.object === "v2.core.event_destination",
  );
  return pageV2(
    call,
    all.map((destination) => shown(destination, included(call))),
  );
}

const timeOf = ({ account }: CallV2): string => new Date(account.now() * 1000).toISOString();
