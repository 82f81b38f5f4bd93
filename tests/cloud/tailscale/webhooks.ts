/**
 * Webhook endpoints and their deliveries, after Tailscale's documentation of webhooks: events in a JSON array, signed
 * with the endpoint's secret; what fails is sent again every hour for a day, and later events wait behind it.
 */
import { createHmac, randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { z } from "zod";
import type { Clock } from "../../../pool/clock.ts";
import type { ControlEvent } from "./control.ts";
import { ApiFailure } from "./failure.ts";

const management = [
  "nodeCreated",
  "nodeNeedsApproval",
  "nodeApproved",
  "nodeKeyExpiringInOneDay",
  "nodeKeyExpired",
  "nodeDeleted",
  "nodeSigned",
  "nodeNeedsSignature",
  "policyUpdate",
  "userCreated",
  "userNeedsApproval",
  "userSuspended",
  "userRestored",
  "userDeleted",
  "userApproved",
  "userRoleUpdated",
] as const;
const misconfigurations = ["subnetIPForwardingNotEnabled", "exitNodeIPForwardingNotEnabled"] as const;
const subscriptions = z
  .array(
    z.enum([
      ...management,
      ...misconfigurations,
      "categoryTailnetManagement",
      "categoryDeviceMisconfigurations",
    ]),
  )
  .min(1);

export const newWebhookShape = z.object({
  endpointUrl: z.string().refine(isEndpoint, "must be https on port 80 or 443, or a loopback address"),
  // Slack's, Mattermost's, Google's and Discord's formats are theirs; see the documentation of the local cloud.
  providerType: z.literal("", "only Tailscale's own format").default(""),
  subscriptions,
});
export const changedWebhookShape = z.object({ subscriptions });

interface WebhookEvent {
  readonly timestamp: string;
  readonly version: 1;
  readonly type: string;
  readonly tailnet: string;
  readonly message: string;
  readonly data: Readonly<Record<string, string>> | null;
}

/** One try to send. */
interface Delivery {
  readonly endpointId: string;
  readonly types: readonly string[];
  /** Counts from 1. */
  readonly attempt: number;
  /** Null: no answer. */
  readonly status: number | null;
}

interface Endpoint {
  readonly endpointId: string;
  readonly endpointUrl: string;
  readonly providerType: string;
  readonly creatorLoginName: string;
  readonly created: string;
  lastModified: string;
  subscriptions: readonly string[];
  secret: string;
  readonly queue: WebhookEvent[];
  sending: boolean;
  deleted: boolean;
}

const retryAfterMs = 3_600_000;
const retries = 24;
/** How long an endpoint may take to answer. Tailscale's figure is not published. */
const answerMs = 10_000;

export interface WebhookOptions {
  readonly clock: Clock;
  readonly tailnet: string;
}

export class Webhooks {
  readonly #options: WebhookOptions;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #closing = new AbortController();
  readonly #busy = new Set<Promise<void>>();
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #deliveries: Delivery[] = [];

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  /** With the secret, which is shown this once. */
  create(input: z.output<typeof newWebhookShape>): object {
    const now = this.#now();
    const endpoint: Endpoint = {
      ...input,
      endpointId: randomBytes(6).toString("hex"),
      // Blank when an OAuth client made it.
      creatorLoginName: "",
      created: now,
      lastModified: now,
      secret: newSecret(),
      queue: [],
      sending: false,
      deleted: false,
    };
    this.#endpoints.set(endpoint.endpointId, endpoint);
    return { ...shown(endpoint), secret: endpoint.secret };
  }

  list(): object {
    return { webhooks: [...this.#endpoints.values()].map(shown) };
  }

  /** @throws ApiFailure 404, as all that take an id */
  get(id: string): object {
    return shown(this.#find(id));
  }

  update(id: string, change: z.output<typeof changedWebhookShape>): object {
    const endpoint = this.#find(id);
    endpoint.subscriptions = change.subscriptions;
    this.#touched(endpoint);
    return shown(endpoint);
  }

  /** The old secret signs nothing any more. */
  rotate(id: string): object {
    const endpoint = this.#find(id);
    endpoint.secret = newSecret();
    this.#touched(endpoint);
    return { ...shown(endpoint), secret: endpoint.secret };
  }

  /** What waits to be sent again is forgotten; the endpoint is told once that it is no more. */
  remove(id: string): void {
    const endpoint = this.#find(id);
    this.#endpoints.delete(id);
    endpoint.deleted = true;
    endpoint.queue.length = 0;
    this.#send(endpoint, this.#event("webhookDeleted", "Webhook deleted", null));
  }

  test(id: string): void {
    this.#send(this.#find(id), this.#event("test", "This is a test event", null));
  }

  /** Sends an event of the tailnet to whoever has subscribed to it. */
  publish(event: ControlEvent): void {
    for (const endpoint of this.#endpoints.values()) {
      if (!subscribed(endpoint.subscriptions, event.type)) continue;
      this.#send(endpoint, {
        timestamp: event.at,
        version: 1,
        type: event.type,
        tailnet: this.#options.tailnet,
        message: `Node ${event.name} ${endings[event.type] ?? event.type}`,
        data: {
          nodeID: event.nodeId,
          deviceName: event.name,
          managedBy: event.managedBy,
          actor: event.actor,
          url: `https://login.tailscale.com/admin/machines/${event.address}`,
          ...(event.expiration === undefined ? {} : { expiration: event.expiration }),
        },
      });
    }
  }

  /** Tries so far, oldest first. */
  get deliveries(): readonly Delivery[] {
    return this.#deliveries;
  }

  /** The first try for which `predicate` holds, as soon as there is one. */
  async waitForDelivery(predicate: (delivery: Delivery) => boolean, signal?: AbortSignal): Promise<Delivery> {
    for (;;) {
      const delivery = this.#deliveries.find(predicate);
      if (delivery) return delivery;
      await once(this.#events, "delivery", { signal });
    }
  }

  /** Nothing is on its way when it resolves. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#busy);
  }

  #now(): string {
    return new Date(this.#options.clock.now()).toISOString();
  }

  #event(type: string, message: string, data: WebhookEvent["data"]): WebhookEvent {
    return { timestamp: this.#now(), version: 1, type, tailnet: this.#options.tailnet, message, data };
  }

  #find(id: string): Endpoint {
    const endpoint = this.#endpoints.get(id);
    if (!endpoint) throw new ApiFailure(404, "webhook not found");
    return endpoint;
  }

  #touched(endpoint: Endpoint): void {
    endpoint.lastModified = this.#now();
    // Subscribed by default, and cannot be turned off.
    this.#send(endpoint, this.#event("webhookUpdated", "Webhook updated", null));
  }

  #send(endpoint: Endpoint, event: WebhookEvent): void {
    endpoint.queue.push(event);
    if (endpoint.sending || this.#closing.signal.aborted) return;
    endpoint.sending = true;
    const done = this.#drain(endpoint).finally(() => {
      endpoint.sending = false;
      this.#busy.delete(done);
    });
    this.#busy.add(done);
  }

  async #drain(endpoint: Endpoint): Promise<void> {
    const { clock } = this.#options;
    while (endpoint.queue.length > 0) {
      const events = endpoint.queue.splice(0);
      const body = JSON.stringify(events);
      const at = Math.floor(clock.now() / 1_000);
      for (let attempt = 1; attempt <= retries + 1; attempt++) {
        const status = await this.#post(endpoint, body, at);
        if (this.#closing.signal.aborted) return;
        const types = events.map(({ type }) => type);
        this.#deliveries.push({ endpointId: endpoint.endpointId, types, attempt, status });
        this.#events.emit("delivery");
        if (status !== null && status < 300) break;
        if (endpoint.deleted) break;
        await clock.delay(retryAfterMs, this.#closing.signal);
        if (endpoint.deleted || this.#closing.signal.aborted) break;
      }
    }
  }

  /** `at`: of the events, also when they are sent again: a receiver that wants them fresh refuses what comes late. */
  async #post(endpoint: Endpoint, body: string, at: number): Promise<number | null> {
    const signature = createHmac("sha256", endpoint.secret).update(`${at}.${body}`).digest("hex");
    try {
      const response = await fetch(endpoint.endpointUrl, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "tailscale-webhook-signature": `t=${at},v1=${signature}`,
        },
        body,
        redirect: "manual",
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(answerMs)]),
      });
      await response.body?.cancel();
      return response.status;
    } catch {
      return null;
    }
  }
}

const endings: Readonly<Record<string, string>> = {
  nodeCreated: "created",
  nodeNeedsApproval: "needs approval",
  nodeApproved: "approved",
  nodeKeyExpiringInOneDay: "key expiring in less than one day",
  nodeKeyExpired: "key recently expired",
  nodeDeleted: "deleted",
};

const newSecret = () =>
  `tskey-webhook-${randomBytes(6).toString("hex")}CNTRL-${randomBytes(16).toString("hex")}`;

const shown = ({ queue: _, sending: __, secret: ___, deleted: ____, ...rest }: Endpoint) => rest;

const subscribed = (list: readonly string[], type: string): boolean =>
  list.includes(type) ||
  (list.includes("categoryTailnetManagement") && (management as readonly string[]).includes(type)) ||
  (list.includes("categoryDeviceMisconfigurations") &&
    (misconfigurations as readonly string[]).includes(type));

/** Tailscale sends to https on port 80 or 443 alone; tests listen on loopback. */
function isEndpoint(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, port } = new URL(text);
  if (hostname === "127.0.0.1" || hostname === "localhost") return protocol.startsWith("http");
  return protocol === "https:" && (port === "" || port === "80");
}
