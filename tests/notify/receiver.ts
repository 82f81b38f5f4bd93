/**
 * Whoever is called back: an HTTP server that takes only what is signed, by its own reading of the Standard Webhooks
 * specification, and keeps what came.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Arrived {
  readonly id: string;
  readonly body: string;
}

/** What becomes of the next call: an answer, the connection cut behind taking it, or no answer at all. */
export type ReceiverFault =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  | "cut"
  | "silent";

export interface Receiver {
  readonly url: string;
  readonly port: number;
  readonly arrived: readonly Arrived[];
  readonly faults: ReceiverFault[];
  /** Calls whose signature did not hold. */
  readonly forged: readonly string[];
  close(): Promise<void>;
}

/** @param secret `whsec_…` @param now epoch ms @param port 0 for any */
export async function startReceiver(
  secret: string,
  now: () => number = Date.now,
  port = 0,
): Promise<Receiver> {
  const arrived: Arrived[] = [];
  const faults: ReceiverFault[] = [];
  const forged: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => take(Buffer.concat(chunks).toString("utf8"), request.headers, response));
  });

  function take(body: string, headers: IncomingHttpHeaders, response: ServerResponse): void {
    const id = String(headers["webhook-id"]);
    if (!isSigned(body, headers)) {
      forged.push(id);
      response.writeHead(401).end();
      return;
    }
    const fault = faults.shift();
    if (fault === "silent") return;
    if (typeof fault === "object") {
      response.writeHead(fault.status, fault.headers).end("a page that nobody reads");
      return;
    }
    arrived.push({ id, body });
    if (fault === "cut") response.destroy();
    else response.writeHead(204).end();
  }

  function isSigned(body: string, headers: IncomingHttpHeaders): boolean {
    const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signatures } = headers;
    if (Math.abs(Number(at) * 1_000 - now()) > 300_000) return false;
    const key = Buffer.from(secret.replace("whsec_", ""), "base64");
    const wanted = createHmac("sha256", key).update(`${id}.${at}.${body}`).digest();
    return String(signatures)
      .split(" ")
      .map((signature) => Buffer.from(signature.replace(/^v1,/, ""), "base64"))
      .some((signature) => signature.length === wanted.length && timingSafeEqual(signature, wanted));
  }

  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: listening } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${listening}/clawpool`,
    port: listening,
    arrived,
    faults,
    forged,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
