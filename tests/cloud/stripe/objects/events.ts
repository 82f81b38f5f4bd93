/** Events and where they are sent, with the fields of API version 2026-10-28.endive. */
import { stripeApiVersion } from "../../../../pool/stripe/gateway.ts";
import { makeId } from "./ids.ts";
import type {
  EventDestinationObject,
  EventObject,
  Metadata,
  StripeObject,
  ThinEventObject,
  WebhookEndpointObject,
} from "./wire.ts";

/** What caused an event: a call of the API, or nothing but time and the buyer. */
export interface Cause {
  readonly id: string | null;
  readonly idempotency_key: string | null;
}

export function makeEvent(fields: {
  readonly type: string;
  readonly object: StripeObject;
  /** The old values of what an `…updated` event changed. */
  readonly previous: Record<string, unknown> | null;
  readonly cause: Cause;
  readonly endpoints: number;
  readonly now: number;
}): EventObject {
  const { type, object, previous, cause, endpoints, now } = fields;
  return {
    id: makeId("evt_1", 23),
    object: "event",
    api_version: stripeApiVersion,
    created: now,
    // As it is now: what happens later must not show in an event that was made before.
    data: {
      object: structuredClone(object),
      ...(previous === null ? {} : { previous_attributes: structuredClone(previous) }),
    },
    livemode: false,
    pending_webhooks: endpoints,
    request: { ...cause },
    type,
  };
}

const paths: Readonly<Record<string, string>> = {
  "checkout.session": "checkout/sessions",
  // `${object}s` would be right for every other kind that has a path.
};

/** The notification of API v2 that belongs to a snapshot event; `created` is a text there. */
export function thinEventOf(event: EventObject): ThinEventObject {
  const { object } = event.data;
  const { id: request, idempotency_key } = event.request ?? { id: null, idempotency_key: null };
  return {
    // One twin for each snapshot, recognisable: the same event sent to two destinations is one event.
    id: event.id.replace(/^evt_1/, "evt_test_65"),
    object: "v2.core.event",
    type: `v1.${event.type}`,
    created: new Date(event.created * 1000).toISOString(),
    livemode: false,
    ...(request === null
      ? {}
      : { reason: { type: "request", request: { id: request, idempotency_key: idempotency_key ?? "" } } }),
    related_object: {
      id: object.id,
      type: object.object,
      url: `/v1/${paths[object.object] ?? `${object.object}s`}/${object.id}`,
    },
    snapshot_event: event.id,
  };
}

export function makeWebhookEndpoint(fields: {
  readonly url: string;
  readonly enabledEvents: readonly string[];
  readonly description: string | null;
  readonly metadata: Metadata;
  readonly apiVersion: string | null;
  readonly now: number;
}): WebhookEndpointObject {
  return {
    id: makeId("we_1", 23),
    object: "webhook_endpoint",
    api_version: fields.apiVersion,
    application: null,
    created: fields.now,
    description: fields.description,
    enabled_events: [...fields.enabledEvents],
    livemode: false,
    metadata: fields.metadata,
    status: "enabled",
    url: fields.url,
  };
}

export function makeEventDestination(fields: {
  readonly name: string;
  readonly description: string;
  readonly payload: "snapshot" | "thin";
  readonly enabledEvents: readonly string[];
  readonly metadata: Metadata;
  readonly now: number;
}): EventDestinationObject {
  const time = new Date(fields.now * 1000).toISOString();
  return {
    id: makeId("ed_test_", 56),
    object: "v2.core.event_destination",
    created: time,
    description: fields.description,
    enabled_events: [...fields.enabledEvents],
    event_payload: fields.payload,
    events_from: ["self"],
    livemode: false,
    metadata: fields.metadata,
    name: fields.name,
    ...(fields.payload === "snapshot" ? { snapshot_api_version: stripeApiVersion } : {}),
    status: "enabled",
    type: "webhook_endpoint",
    updated: time,
  };
}
