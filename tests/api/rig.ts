/** The API on a free port, over an order desk with the real store and the stand-in for Stripe. */
import pino from "pino";
import { createApi } from "../../api/api.ts";
import type { Plans } from "../../api/plan.ts";
import type { PoolStatus } from "../../pool/observe/status.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { type DeskRig, startDesk } from "../order/rig.ts";

export interface ApiRig extends DeskRig {
  readonly url: string;
  /** A request with the API token, JSON both ways. */
  ask(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; headers: Headers; json: Record<string, unknown> }>;
}

export const operatorToken = "token-of-ada-who-operates-0123456789";
export const token = "token-of-the-product-team-0123456789";

/** `retryDelaysMs`: pauses before Stripe's second, third … try of a webhook; none by default. */
export async function startApi({
  retryDelaysMs = [],
  ...options
}: {
  heartbeatMs?: number;
  retryDelaysMs?: readonly number[];
  plans?: Plans;
} = {}): Promise<ApiRig> {
  const rig = await startDesk({ retryDelaysMs });
  const status = (): PoolStatus => ({
    instance: "test",
    pools: [],
    quarantine: null,
    flags: rig.store.flags(),
  });
  const api = createApi({
    desk: rig.desk,
    store: rig.store,
    clock: rig.clock,
    config: () => ({
      api: {
        listen: { host: "127.0.0.1", port: 0 },
        publicUrl: "https://pool.example",
        tokens: [new Secret("an-older-token"), new Secret(token)],
        operators: [{ name: "ada", token: new Secret(operatorToken) }],
        trustedProxies: ["127.0.0.0/8"],
      },
      agent: { model: "mock/small", gatewayPort: 18789 },
    }),
    log: pino({ level: "silent" }),
    events: rig.notifier,
    status,
    plans: () => [],
    ...options,
  });
  const { url, close } = await api.listen();
  rig.stripe.setWebhook(`${url}/webhooks/stripe`);
  return Object.assign(rig, {
    url,
    async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, json: text === "" ? {} : JSON.parse(text) };
    },
    close: closeBoth(rig.close, close),
  });
}

const closeBoth = (first: () => Promise<void>, second: () => Promise<void>) => async () => {
  await second();
  await first();
};
