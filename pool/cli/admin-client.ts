/** Asks the running daemon over its unix socket. */
import { request } from "node:http";
import { join } from "node:path";

/** The daemon does not run, or does not answer. */
export class NoDaemonError extends Error {
  override readonly name = "NoDaemonError";
}

/** What the daemon refused, in its own words. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export const adminSocket = (stateDir: string): string => join(stateDir, "admin.sock");

const patienceMs = 10_000;

/**
 * @param timeoutMs how long the daemon may be silent, in milliseconds
 * @throws NoDaemonError when nothing listens on the socket; RefusedError with the daemon's sentence for 4xx and 5xx.
 */
export function askDaemon<T>(
  stateDir: string,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
  timeoutMs: number = patienceMs,
): Promise<T> {
  const socketPath = adminSocket(stateDir);
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers =
      text === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
    const asked = request({ socketPath, method, path, headers, timeout: timeoutMs }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () => {
        const json = JSON.parse(Buffer.concat(chunks).toString("utf8") || "null");
        const status = answer.statusCode ?? 0;
        if (status < 400) resolve(json as T);
        else reject(new RefusedError(status, json?.detail ?? json?.title ?? `the daemon answered ${status}`));
      });
      answer.on("error", reject);
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer")));
    asked.on("error", (error: NodeJS.ErrnoException) => {
      const why =
        error.code === "ENOENT" || error.code === "ECONNREFUSED"
          ? "is not running"
          : `does not answer (${error.message})`;
      reject(
        new NoDaemonError(
          `the daemon ${why}; its socket would be ${socketPath}. Start it with \`clawpool serve\``,
        ),
      );
    });
    asked.end(text);
  });
}
