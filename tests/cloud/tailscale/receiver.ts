/** An endpoint for webhooks, which verifies signatures as Tailscale's documentation tells receivers to. */
import { createHmac, timingSafeEqual } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly timestamp: string;
  readonly version: number;
  readonly type: string;
  readonly tailnet: string;
  readonly message: string;
  readonly data: Readonly<Record<string, string>> | null;
}

export interface Receiver {
  readonly url: string;
  /** Events of deliveries whose signature was right, in their order. */
  readonly events: readonly Received[];
  /** Signature headers and bodies of all deliveries. */
  readonly deliveries: readonly { readonly header: string; readonly body: string }[];
  /** Set before the first delivery. */
  secret: string;
  /** Statuses of the next answers; then 200. */
  readonly answers: number[];
  /** The first event of that type, of that device if one is named, as soon as it has come. */
  waitFor(type: string, deviceName?: string): Promise<Received>;
  close(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const events: Received[] = [];
  const deliveries: { header: string; body: string }[] = [];
  const answers: number[] = [];
  const news = new EventEmitter();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const header = String(request.headers["tailscale-webhook-signature"]);
    deliveries.push({ header, body });
    const status = answers.shift() ?? 200;
    response.writeHead(status).end();
    if (status < 300 && isSigned(header, body, receiver.secret)) {
      events.push(...(JSON.parse(body) as Received[]));
      news.emit("events");
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    events,
    deliveries,
    answers,
    secret: "",
    async waitFor(type, deviceName) {
      const meant = ({ type: given, data }: Received) =>
        given === type && (deviceName === undefined || data?.deviceName === deviceName);
      for (;;) {
        const event = events.find(meant);
        if (event) return event;
        await once(news, "events");
      }
    },
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return receiver;
}

/** Whether one of the `v1` signatures is HMAC-SHA256 of `t.body` with the secret. Age is the caller's to judge. */
export function isSigned(header: string, body: string, secret: string): boolean {
  const fields = header.split(",").map((field) => field.split("=", 2) as [string, string]);
  const time = fields.find(([name]) => name === "t")?.[1] ?? "";
  const expected = createHmac("sha256", secret).update(`${time}.${body}`).digest();
  return fields.some(([name, value]) => {
    const given = Buffer.from(value ?? "", "hex");
    return name === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
}
