/**
 * Sends events to every destination that wants them, as Stripe does: signed anew for each try with every secret in
 * force, at least once, in no sure order, repeated until a 2xx answers or the schedule is over.
 */
import { Stripe } from "stripe";
import type { Clock } from "../../../pool/clock.ts";
import type { DeliveryEffect, Faults } from "./faults.ts";
import { thinEventOf } from "./objects/events.ts";
import type { EventObject } from "./objects/wire.ts";
import type { Account } from "./state/account.ts";
import type { Destination } from "./state/destinations.ts";
import { type Cut, createTransport } from "./transport.ts";

/** One try: what was sent, what came back. Times are epoch ms. */
export interface Delivery {
  /** Id of the snapshot event, also where a thin one was sent. */
  readonly event: string;
  readonly type: string;
  readonly destination: string;
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
  readonly order?: readonly string[] | undefined;
  /** How often each event is sent again after it was delivered. */
  readonly duplicates?: number | undefined;
  /** Keep the events back until `release()`. */
  readonly hold?: boolean | undefined;
}

export interface Sender {
  /** Resolves when each event had its first try; further tries go on by themselves. */
  send(events: readonly EventObject[], options?: SendOptions): Promise<void>;
  /** Sends what was held back, in the order given by event types (else as it came). */
  release(order?: readonly string[]): Promise<void>;
  deliveries(): readonly Delivery[];
  /** Resolves when nothing is on the wire; what waits for its next try waits on the clock. */
  quiet(): Promise<void>;
  /** Resolves when no event is being sent or waiting for its next try. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** Checkout waits for the answer to this one before it sends the buyer back, so it goes first. */
const usualOrder = ["checkout.session.completed"];

export function createSender(options: {
  account: Account;
  clock: Clock;
  faults: Faults;
  /** Pauses before the second, third … try; the event is given up after the last. */
  retryDelaysMs: readonly number[];
}): Sender {
  const { account, clock, faults, retryDelaysMs } = options;
  let held: EventObject[] = [];
  const log: Delivery[] = [];
  const running = new Set<Promise<unknown>>();
  const onTheWire = new Set<Promise<unknown>>();
  const stop = new AbortController();
  const transport = createTransport(stop.signal);

  function track<T>(work: Promise<T>, among = running): Promise<T> {
    among.add(work);
    void work.finally(() => among.delete(work));
    return work;
  }

  async function attempt(
    event: EventObject,
    destination: Destination,
    number: number,
    effect: DeliveryEffect | null,
  ): Promise<boolean> {
    const { url, object } = destination;
    const body = JSON.stringify(destination.payload === "thin" ? thinEventOf(event) : event);
    const sentAt = clock.now();
    const requestHeaders = {
      "content-type": "application/json; charset=utf-8",
      "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
      accept: "*/*; q=0.5, application/xml",
      "cache-control": "no-cache",
      "stripe-signature": signature(body, destination.secrets, sentAt, effect),
    };
    const requestBody = effect?.kind === "garble" ? garbled(body) : body;
    const cut: Cut = effect?.kind !== "drop" ? null : effect.when === "before" ? "body" : "answer";
    const answered = await track(transport.post(url, requestBody, requestHeaders, cut), onTheWire);
    log.push({
      event: event.id,
      type: event.type,
      destination: object.id,
      attempt: number,
      url,
      sentAt,
      answeredAt: clock.now(),
      requestHeaders,
      requestBody,
      ...answered,
    });
    return answered.status !== null && answered.status >= 200 && answered.status < 300;
  }

  /** One try, with what befalls it. `given-up`: there will be no other. */
  async function tryOnce(
    event: EventObject,
    destination: Destination,
    number: number,
    overtake: () => void,
  ): Promise<"delivered" | "failed" | "given-up"> {
    // The destination may have been removed or disabled since the last try: then Stripe gives the event up.
    const known = account.destinations.get(destination.object.id) === destination;
    if (!known || !destination.enabled || stop.signal.aborted) return "given-up";
    const effect = faults.onDelivery(event.type, event.data.object.id, destination.object.id);
    if (effect?.kind === "lose") return "given-up";
    if (effect?.kind === "delay") {
      overtake();
      await clock.delay(effect.ms, stop.signal);
    }
    if (stop.signal.aborted) return "given-up";
    if (!(await attempt(event, destination, number, effect))) return "failed";
    const copies = effect?.kind === "duplicate" ? effect.copies : 0;
    for (let copy = 0; copy < copies; copy++) await attempt(event, destination, number, null);
    return "delivered";
  }

  /** `begun` is called after the first try, or as soon as that has to wait: then what is sent later overtakes it. */
  async function deliver(event: EventObject, destination: Destination, begun: () => void): Promise<void> {
    for (const [index, pause] of [0, ...retryDelaysMs].entries()) {
      if (index > 0) await clock.delay(pause, stop.signal);
      const outcome = await tryOnce(event, destination, index + 1, begun);
      begun();
      if (outcome === "delivered") event.pending_webhooks = Math.max(0, event.pending_webhooks - 1);
      if (outcome !== "failed") return;
    }
  }

  function begin(event: EventObject, destination: Destination): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    // Whatever ends the delivery ends the wait for its first try.
    void track(deliver(event, destination, resolve).finally(resolve));
    return promise;
  }

  async function sendAll(
    events: readonly EventObject[],
    { order, duplicates = 0 }: SendOptions,
  ): Promise<void> {
    const wanted = [...(order ?? []), ...usualOrder];
    const place = (event: EventObject) => {
      const index = wanted.indexOf(event.type);
      return index === -1 ? wanted.length : index;
    };
    const sorted = [...events].sort((a, b) => place(a) - place(b));
    for (let round = 0; round <= duplicates; round++) {
      for (const event of sorted) {
        for (const destination of account.destinations.values()) {
          if (destination.wants(event.type)) await begin(event, destination);
        }
      }
    }
  }

  return {
    send(events, how = {}) {
      if (!how.hold) return track(sendAll(events, how));
      held.push(...events);
      return Promise.resolve();
    },
    release(order) {
      const events = held;
      held = [];
      return track(sendAll(events, { order }));
    },
    deliveries: () => log,
    async quiet() {
      while (onTheWire.size > 0) await Promise.all(onTheWire);
    },
    async settled() {
      while (running.size > 0) await Promise.all(running);
    },
    async close() {
      stop.abort();
      while (running.size > 0) await Promise.all(running);
      transport.close();
    },
  };
}

/** The header with a `v1` for each secret, and the `v0` that Stripe adds in test mode for nobody to believe. */
function signature(
  payload: string,
  secrets: readonly string[],
  nowMs: number,
  effect: DeliveryEffect | null,
): string {
  const as = effect?.kind === "sign" ? effect.as : null;
  const timestamp = Math.floor(nowMs / 1000) + (as === "stale" ? -301 : as === "future" ? 301 : 0);
  const signing = as === "foreign" ? ["whsec_of_nobody"] : secrets;
  const value = (secret: string, scheme: string) =>
    Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp, scheme }).replace(/^t=\d+,/, "");
  return [
    `t=${timestamp}`,
    ...signing.map((secret) => value(secret, "v1")),
    value("whsec_of_test_mode", "v0"),
  ].join(",");
}

/** The same JSON but for one character of the event's id. */
const garbled = (body: string): string =>
  body.replace(/"id":"evt_(.)/, (_, c) => `"id":"evt_${c === "9" ? "8" : "9"}`);
