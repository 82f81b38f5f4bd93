/** Events and webhook endpoints of API v1. */
import { invalidParameter, missing, missingParameter, refused } from "../errors.ts";
import { matchesType } from "../faults.ts";
import { makeWebhookEndpoint } from "../objects/events.ts";
import type { EventObject, WebhookEndpointObject } from "../objects/wire.ts";
import type { Account } from "../state/account.ts";
import { Destination } from "../state/destinations.ts";
import type { Call, Route } from "./call.ts";
import { page, within } from "./lists.ts";

/** Source: Stripe's API reference, "Create a webhook endpoint". */
const mostEndpoints = 16;

export const eventRoutes: readonly Route[] = [
  [
    "GET",
    "/v1/events/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      return eventOf(account, id);
    },
  ],
  ["GET", "/v1/events", listEvents],
  ["POST", "/v1/webhook_endpoints", createEndpoint],
  [
    "GET",
    "/v1/webhook_endpoints/:id",
    (call) => {
      call.parameters.done();
      return endpointOf(call).object;
    },
  ],
  ["POST", "/v1/webhook_endpoints/:id", updateEndpoint],
  ["DELETE", "/v1/webhook_endpoints/:id", deleteEndpoint],
  [
    "GET",
    "/v1/webhook_endpoints",
    (call) =>
      page(
        call,
        [...call.account.destinations.values()].map(({ object }) => object).filter(isEndpoint),
        () => true,
      ),
  ],
];

export function eventOf(account: Account, id: string): EventObject {
  const event = account.events.find((one) => one.id === id);
  if (!event) throw missing("event", id);
  return event;
}

function listEvents(call: Call): unknown {
  const { account, parameters } = call;
  const type = parameters.text("type");
  const types = parameters.texts("types", 20);
  if (type !== null && types !== null) parameters.exactlyOne(["type", "types"]);
  const created = parameters.range("created");
  const delivered = parameters.boolean("delivery_success");
  const wanted = types ?? (type === null ? null : [type]);
  return page(
    call,
    account.events,
    (event) =>
      (wanted === null || wanted.some((pattern) => matchesType(pattern, event.type))) &&
      within(created, event.created) &&
      (delivered === null || delivered === (event.pending_webhooks === 0)),
  );
}

const isEndpoint = (object: Destination["object"]): object is WebhookEndpointObject =>
  object.object === "webhook_endpoint";

function endpointOf({ account, id }: Call): Destination & { readonly object: WebhookEndpointObject } {
  const destination = account.destinations.get(id);
  if (!destination || !isEndpoint(destination.object)) throw missing("webhook endpoint", id);
  return destination as Destination & { readonly object: WebhookEndpointObject };
}

/** The only answer that shows the secret. */
function createEndpoint({ account, parameters }: Call): WebhookEndpointObject {
  const url = parameters.url("url");
  if (url === null) throw missingParameter("url");
  const enabledEvents = readEnabledEvents(parameters.texts("enabled_events", 1_000));
  if (enabledEvents === null) throw missingParameter("enabled_events");
  const fields = {
    url,
    enabledEvents,
    description: parameters.clearable("description") ?? null,
    metadata: parameters.metadata(),
    apiVersion: parameters.text("api_version"),
  };
  parameters.done(["connect"]);
  if (account.destinations.size >= mostEndpoints) {
    throw refused(`You have reached the maximum of ${mostEndpoints} test webhook endpoints.`);
  }
  const object = makeWebhookEndpoint({ ...fields, now: account.now() });
  const destination = new Destination(object, url, account.now);
  account.destinations.set(object.id, destination);
  return { ...object, secret: destination.secrets[0] ?? "" };
}

function readEnabledEvents(given: string[] | null): string[] | null {
  if (given === null) return null;
  const odd = given.findIndex((type) => !/^(\*|[a-z0-9_]+(\.[a-z0-9_]+)+)$/.test(type));
  if (given.length === 0 || odd !== -1) {
    throw invalidParameter(
      given.length === 0 ? "enabled_events" : `enabled_events[${odd}]`,
      `Invalid enabled_events: ${given[odd] ?? "none"} is no type of event.`,
    );
  }
  return given;
}

function updateEndpoint(call: Call): WebhookEndpointObject {
  const { account, parameters } = call;
  const destination = endpointOf(call);
  const { object } = destination;
  const fields: Partial<WebhookEndpointObject> = {
    metadata: parameters.metadata(object.metadata),
    url: parameters.url("url") ?? object.url,
    enabled_events: readEnabledEvents(parameters.texts("enabled_events", 1_000)) ?? object.enabled_events,
  };
  const description = parameters.clearable("description");
  if (description !== undefined) fields.description = description;
  const disabled = parameters.boolean("disabled");
  if (disabled !== null) fields.status = disabled ? "disabled" : "enabled";
  parameters.done();
  account.change(object, fields, null);
  destination.url = object.url;
  return object;
}

function deleteEndpoint(call: Call): unknown {
  call.parameters.done();
  const { object } = endpointOf(call);
  call.account.destinations.delete(object.id);
  return { id: object.id, object: "webhook_endpoint", deleted: true };
}
