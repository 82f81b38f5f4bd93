/** The product team's web app and its customer, as far as clawpool sees them. */
import type { OrderView, PoolView } from "../../api/views.ts";

export interface OrderEventLine {
  readonly id: number;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** When it reached us, epoch ms. */
  readonly receivedAt: number;
}

export interface Shop {
  /** With a key the same order again, however often it is asked for. */
  order(change?: Record<string, unknown>, options?: { readonly idempotencyKey?: string }): Promise<OrderView>;
  view(order: string): Promise<OrderView>;
  access(order: string): Promise<{ gateway_token: string }>;
  /** The order's events after the one numbered `after`, as they come; leaving the loop ends the request. */
  events(order: string, after?: number): AsyncGenerator<OrderEventLine>;
  /** The order's events, oldest first, until it is in one of `states`; throws if it ends in another terminal state. */
  follow(
    order: string,
    states: readonly string[],
    onEvent?: (event: OrderEventLine) => void,
  ): Promise<OrderEventLine[]>;
  pool(): Promise<PoolView>;
}

const terminal = ["failed", "released", "expired"];

export function openShop(url: string, token: string): Shop {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };

  async function call<T>(
    path: string,
    init: RequestInit & { headers?: Record<string, string> } = {},
  ): Promise<T> {
    const answer = await fetch(`${url}${path}`, { ...init, headers: { ...headers, ...init.headers } });
    const body = await answer.text();
    if (!answer.ok) throw new Error(`${init.method ?? "GET"} ${path}: ${answer.status} ${body}`);
    return JSON.parse(body) as T;
  }

  async function* events(order: string, after = 0): AsyncGenerator<OrderEventLine> {
    const controller = new AbortController();
    const answer = await fetch(`${url}/v1/orders/${order}/events`, {
      headers: { ...headers, ...(after > 0 ? { "last-event-id": String(after) } : {}) },
      signal: controller.signal,
    });
    if (!answer.ok || !answer.body) throw new Error(`events of ${order}: ${answer.status}`);
    try {
      yield* parseEvents(answer.body);
    } finally {
      controller.abort();
    }
  }

  return {
    events,
    order: (change = {}, { idempotencyKey } = {}) =>
      call("/v1/orders", {
        method: "POST",
        headers: idempotencyKey ? { "idempotency-key": idempotencyKey } : {},
        body: JSON.stringify({
          customer: "customer-1",
          plan: "small",
          region: "eu-central",
          agent_name: "claw",
          env: { CLAW_MODEL_API_KEY: "sk-of-the-customer" },
          ...change,
        }),
      }),
    view: (order) => call(`/v1/orders/${order}`),
    access: (order) => call(`/v1/orders/${order}/access`),
    pool: () => call("/v1/pool"),

    async follow(order, states, onEvent) {
      const seen: OrderEventLine[] = [];
      for await (const event of events(order)) {
        seen.push(event);
        onEvent?.(event);
        if (event.type !== "state") continue;
        const state = String(event.data.state);
        if (states.includes(state)) return seen;
        if (terminal.includes(state)) throw new Error(`order ${order} is ${state}: ${event.data.reason}`);
      }
      throw new Error(`the events of ${order} ended before it was ${states.join(" or ")}`);
    },
  };
}

async function* parseEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<OrderEventLine> {
  let rest = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    rest += chunk;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const fields = new Map(
        rest
          .slice(0, end)
          .split("\n")
          .map((line) => {
            const colon = line.indexOf(":");
            return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
          }),
      );
      rest = rest.slice(end + 2);
      const data = fields.get("data");
      if (data === undefined) continue;
      yield {
        id: Number(fields.get("id")),
        type: fields.get("event") ?? "message",
        data: JSON.parse(data),
        receivedAt: Date.now(),
      };
    }
  }
}
