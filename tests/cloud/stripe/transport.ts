/** One request to a webhook, whole or cut on the way. */
import http from "node:http";
import https from "node:https";

/** `body`: the connection ends within the body. `answer`: all is sent, nobody reads the answer. */
export type Cut = "body" | "answer" | null;

export interface Answered {
  /** Null when nobody answered. */
  readonly status: number | null;
  readonly responseBody: string | null;
  readonly error: string | null;
}

export interface Transport {
  post(url: string, body: string, headers: Readonly<Record<string, string>>, cut: Cut): Promise<Answered>;
  close(): void;
}

/** Stripe's own time-out is not published; this is an assumption. */
const answerWithinMs = 20_000;
/** A longer answer is cut off in the log. */
const keptCharacters = 10_000;

export function createTransport(signal: AbortSignal): Transport {
  const agents = {
    "http:": new http.Agent({ keepAlive: true }),
    "https:": new https.Agent({ keepAlive: true }),
  };

  return {
    post: (url, body, headers, cut) =>
      new Promise((resolve) => {
        const target = new URL(url);
        const secure = target.protocol === "https:";
        const bytes = Buffer.from(body);
        const failed = (error: string) => resolve({ status: null, responseBody: null, error });
        const request = (secure ? https : http).request(target, {
          method: "POST",
          agent: agents[secure ? "https:" : "http:"],
          headers: { ...headers, "content-length": bytes.length },
          signal: AbortSignal.any([signal, AbortSignal.timeout(answerWithinMs)]),
        });
        request.on("error", (error) => failed(error.message));
        request.on("response", (response) => {
          if (cut === "answer") {
            response.destroy();
            return failed("the connection was dropped before the answer was read");
          }
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => {
            if (text.length < keptCharacters) text += chunk;
          });
          response.on("error", (error) => failed(error.message));
          // A redirect is an answer like any other: Stripe follows none.
          response.on("end", () =>
            resolve({
              status: response.statusCode ?? null,
              responseBody: text.slice(0, keptCharacters),
              error: null,
            }),
          );
        });
        if (cut === "body") {
          const half = bytes.subarray(0, bytes.length >> 1);
          request.write(half, () => request.destroy(new Error("the connection was dropped within the body")));
        } else request.end(bytes);
      }),
    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}
