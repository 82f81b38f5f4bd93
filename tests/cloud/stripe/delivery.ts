/**
 * Sends events to the configured webhook as Stripe does: signed anew for each try, at least once, repeated until
 * a 2xx answers. Duplicates, other orders and holding back are done on request.
 */
import { Stripe } from "stripe";
import type { Clock } from "../../../pool/clock.ts";
import type { EventObject } from "./state.ts";

/** One try: what was sent, what came back. Times are epoch ms. */
export interface Delivery {
  readonly event: string;
  readonly type: string;
  readonly attempt: number;
  readonly url: string;
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly requestHeaders: Readonly<Record<string, string>>;
  readonly requestBody: string;
  /** Null when nobody answered. */
  readonly status: number | null;
  readonly responseBody: string | null;
  readonly error: string | null;
}

export interface SendOptions {
  /** Event types in the order in which they are sent; types that are not named come last. */
  readonly order?: readonly string[];
  /** How often each event is sent again after it was delivered. */
  readonly duplicates?: number;
  /** Keep the events back until `release()`. */
  readonly hold?: boolean;
}

export interface Sender {
  setWebhook(url: string | null): void;
  /** `thin` sends `v2.core.event` notifications in place of snapshots. */
  setStyle(style: "snapshot" | "thin"): void;
  /** Resolves when each event had its first try; further tries go on by themselves. */
  send(events: readonly EventObject[], options?: SendOptions): Promise<void>;
  /** Sends what was held back, in the order given by event types (else as it came). */
  release(order?: readonly string[]): Promise<void>;
  deliveries(): readonly Delivery[];
  /** Resolves when no event is being sent or waiting for its next try. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export function createSender(options: {
  secret: string;
  clock: Clock;
  /** Pauses before the second, third … try; the event is given up after the last. */
  retryDelaysMs: readonly number[];
  webhook: string | null;
}): Sender {
  const { secret, clock, retryDelaysMs } = options;
  let webhook = options.webhook;
  let style: "snapshot" | "thin" = "snapshot";
  let held: EventObject[] = [];
  const log: Delivery[] = [];
  const running = new Set<Promise<void>>();
  const stop = new AbortController();

  async function attempt(event: EventObject, url: string, number: number): Promise<boolean> {
    const payload = JSON.stringify(style === "thin" ? thin(event) : event);
    const sentAt = clock.now();
    const requestHeaders = {
      "content-type": "application/json; charset=utf-8",
      "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
      "stripe-signature": Stripe.webhooks.generateTestHeaderString({
        payload,
        secret,
        timestamp: sentAt / 1000,
      }),
    };
    const result = await post(url, payload, requestHeaders, stop.signal);
    log.push({
      event: event.id,
      type: event.type,
      attempt: number,
      url,
      sentAt,
      answeredAt: clock.now(),
      requestHeaders,
      requestBody: payload,
      ...result,
    });
    return result.status !== null && result.status >= 200 && result.status < 300;
  }

  async function repeat(event: EventObject): Promise<void> {
    for (const [index, pause] of retryDelaysMs.entries()) {
      await clock.delay(pause, stop.signal);
      if (stop.signal.aborted) return;
      // The endpoint may have been set, moved or removed since the last try.
      if (webhook !== null && (await attempt(event, webhook, index + 2))) {
        event.pending_webhooks = 0;
        return;
      }
    }
  }

  function track(work: Promise<void>): void {
    running.add(work);
    void work.finally(() => running.delete(work));
  }

  async function sendOne(event: EventObject): Promise<void> {
    if (webhook === null || stop.signal.aborted) return;
    if (await attempt(event, webhook, 1)) event.pending_webhooks = 0;
    else track(repeat(event));
  }

  async function sendAll(events: readonly EventObject[], { order = [], duplicates = 0 }: SendOptions) {
    const place = (event: EventObject) => {
      const index = order.indexOf(event.type);
      return index === -1 ? order.length : index;
    };
    const sorted = [...events].sort((a, b) => place(a) - place(b));
    for (let round = 0; round <= duplicates; round++) for (const event of sorted) await sendOne(event);
  }

  return {
    setWebhook: (url) => {
      webhook = url;
    },
    setStyle: (wanted) => {
      style = wanted;
    },
    send(events, how = {}) {
      if (how.hold) {
        held.push(...events);
        return Promise.resolve();
      }
      const work = sendAll(events, how);
      track(work);
      return work;
    },
    release(order = []) {
      const events = held;
      held = [];
      const work = sendAll(events, { order });
      track(work);
      return work;
    },
    deliveries: () => log,
    async settled() {
      while (running.size > 0) await Promise.all(running);
    },
    async close() {
      stop.abort();
      while (running.size > 0) await Promise.all(running);
    },
  };
}

async function post(
  url: string,
  body: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Pick<Delivery, "status" | "responseBody" | "error">> {
  try {
    // A redirect is a failure at Stripe. Its own time-out is not published; 20 s is an assumption.
    const answer = await fetch(url, {
      method: "POST",
      body,
      headers,
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]),
    });
    return { status: answer.status, responseBody: await answer.text(), error: null };
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    return {
      status: null,
      responseBody: null,
      error: cause instanceof Error ? cause.message : String(cause),
    };
  }
}

/** The event notification of API v2 that belongs to a snapshot event. */
function thin(event: EventObject): Record<string, unknown> {
  const { object } = event.data;
  const paths: Record<string, string> = { "checkout.session": "checkout/sessions" };
  return {
    id: event.id.replace(/^evt_1/, "evt_test_"),
    object: "v2.core.event",
    type: `v1.${event.type}`,
    created: new Date(event.created * 1000).toISOString(),
    livemode: false,
    context: null,
    reason: null,
    related_object: {
      id: object.id,
      type: object.object,
      url: `/v1/${paths[object.object] ?? `${object.object}s`}/${object.id}`,
    },
    snapshot_event: event.id,
  };
}
