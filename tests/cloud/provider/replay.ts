/**
 * Answers terraform with what was recorded of the real provider 1.68.0 (against a stub of the API), request by
 * request. A request that the recording does not have at this point is answered 418 and remembered.
 */
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface RecordedCall {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  /** null: the connection was cut. */
  readonly status: number | null;
  /** Index into the answers; absent when the answer had no body. */
  readonly answer?: number;
}

export interface Scenario {
  readonly calls: readonly RecordedCall[];
  /** `<action> <address>` of the plan. */
  readonly changes: readonly string[];
  readonly errors: readonly { summary: string; detail: string; address: string | null }[];
}

interface Recordings {
  readonly scenarios: Readonly<Record<string, Scenario>>;
  readonly answers: readonly unknown[];
}

const recordings = JSON.parse(
  readFileSync(new URL("./recordings.json", import.meta.url), "utf8"),
) as Recordings;

export function scenario(name: string): Scenario {
  const found = recordings.scenarios[name];
  if (!found) throw new Error(`no recording is called ${name}`);
  return found;
}

/** Also the recorded value of the correlation header, which only the error text has. */
const correlation = (recorded: Scenario): string =>
  recorded.errors
    .map(({ summary, detail }) => /, ([0-9a-f]{16})\)/.exec(summary + detail)?.[1])
    .find(Boolean) ?? "0000000000000000";

export class Replay {
  readonly #server: Server;
  #left: RecordedCall[] = [];
  #seen: string[] = [];
  #correlation = "";

  constructor() {
    this.#server = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk: Buffer) => {
        text += chunk;
      });
      request.on("end", () => {
        const body: unknown = text === "" ? undefined : JSON.parse(text);
        const path = request.url ?? "";
        this.#seen.push(spelled({ method: request.method ?? "", path, body }));
        const index = this.#left.findIndex((call) => call.method === request.method && call.path === path);
        const [call] = index === -1 ? [] : this.#left.splice(index, 1);
        if (call?.status === null) return request.socket.destroy();
        const answer = call?.answer === undefined ? undefined : recordings.answers[call.answer];
        const json = typeof answer === "object";
        response.writeHead(call ? (call.status as number) : 418, {
          ...(json ? { "content-type": "application/json" } : {}),
          "x-correlation-id": this.#correlation,
        });
        response.end(answer === undefined ? undefined : json ? JSON.stringify(answer) : String(answer));
      });
    });
  }

  /** `http://127.0.0.1:<port>/v1` */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** From now on answers as in this scenario. */
  play(recorded: Scenario): void {
    this.#left = [...recorded.calls];
    this.#seen = [];
    this.#correlation = correlation(recorded);
  }

  /** Requests since `play`, as `METHOD path body`. */
  get seen(): readonly string[] {
    return this.#seen;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** Rules of a firewall are a set: their addresses may come in any order. */
export function spelled(call: { method: string; path: string; body?: unknown }): string {
  return `${call.method} ${call.path}${call.body === undefined ? "" : ` ${JSON.stringify(sorted(call.body))}`}`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
