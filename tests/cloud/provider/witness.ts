/**
 * Stands between terraform and an API, passes everything on and writes the requests down, with names for ids: what
 * `POST /servers` calls 4711 is `server a` from then on. Two runs with other ids can so be compared.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What an answer to a creation calls the thing that was made. */
const kinds = [
  "server",
  "ssh_key",
  "firewall",
  "network",
  "placement_group",
  "primary_ip",
  "volume",
  "image",
] as const;

/** As the provider calls an address that it makes unasked. */
const randomName = /primary_ip-\d{7}/g;

const sets = /_ips$|^(rules|firewalls|apply_to|remove_from)$/;

type Json = Readonly<Record<string, unknown>>;

export class Witness {
  readonly #api: string;
  readonly #server: Server;
  readonly #names = new Map<string, string>();
  #calls: string[] = [];
  #awaited: { method: string; path: string; resolve: () => void }[] = [];
  /** Actions of each poll since the last `take`. */
  #polled: string[][] = [];

  /** @param api ends in /v1 */
  constructor(api: string) {
    this.#api = api.replace(/\/v1$/, "");
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => request.socket.destroy());
    });
  }

  /** `http://127.0.0.1:<port>/v1` */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /**
   * Requests since the last call, as `METHOD path body`. Polls of one action, or of fewer and fewer of several, are as
   * many as it takes: all are one `wait for …`.
   */
  take(): string[] {
    const calls = this.#calls;
    this.#calls = [];
    this.#polled = [];
    return calls;
  }

  /** The next request with this method whose path, without /v1, begins so; before it is passed on. */
  next(method: string, path: string): Promise<void> {
    return new Promise((resolve) => this.#awaited.push({ method, path, resolve }));
  }

  /** The text with names in the place of ids, ports and correlation ids. */
  named(text: string): string {
    return text
      .replaceAll(randomName, "primary_ip-{random}")
      .replaceAll(/\d{7,}/g, (id) => this.#names.get(id) ?? id)
      .replaceAll(/, [0-9a-f]{16}\)/g, ")")
      .replaceAll(/Progress: \d+%/g, "Progress: {progress}")
      .replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1");
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const url = request.url ?? "";
    this.#note(request.method ?? "", decodeURIComponent(url), body);
    this.#awaited = this.#awaited.filter(({ method, path, resolve }) => {
      const comes = request.method === method && url.startsWith(`/v1${path}`);
      if (comes) resolve();
      return !comes;
    });
    const answer = await fetch(this.#api + url, {
      method: request.method ?? "GET",
      headers: { authorization: request.headers.authorization ?? "", "content-type": "application/json" },
      ...(body === "" ? {} : { body }),
    });
    const text = await answer.text();
    const headers = Object.fromEntries(
      ["content-type", "x-correlation-id"].flatMap((name) => {
        const value = answer.headers.get(name);
        return value === null ? [] : [[name, value]];
      }),
    );
    if (request.method !== "GET" && answer.ok && text !== "") this.#learn(JSON.parse(text));
    if (answer.ok && text !== "") this.#learnAddresses(JSON.parse(text));
    response.writeHead(answer.status, headers).end(text === "" ? undefined : text);
  }

  #note(method: string, path: string, body: string): void {
    if (method === "GET" && path.startsWith("/v1/actions?")) {
      const actions = [...path.matchAll(/[?&]id=(\d+)/g)].map(([, id]) => id ?? "");
      if (this.#polled.some((earlier) => actions.every((id) => earlier.includes(id)))) return;
      this.#polled.push(actions);
      const names = actions.map((id) => this.named(id)).sort();
      this.#calls.push(`wait for ${names.join(", ")}`);
    } else {
      const sent = body === "" ? "" : ` ${JSON.stringify(inOrder("", JSON.parse(body)))}`;
      this.#calls.push(this.named(`${method} ${path.slice("/v1".length)}${sent}`));
    }
  }

  #call(id: unknown, name: string): void {
    if (typeof id === "number" && !this.#names.has(String(id))) this.#names.set(String(id), `{${name}}`);
  }

  #learn(answer: Json): void {
    for (const kind of kinds) {
      const made = answer[kind] as Json | undefined;
      if (made)
        this.#call(
          made.id,
          `${kind} ${String(made.name ?? made.description).replace(randomName, "primary_ip-{random}")}`,
        );
    }
    const { action, actions = [], next_actions = [] } = answer as Record<string, Json[]>;
    for (const one of [action, ...actions, ...next_actions].flat())
      if (one) this.#call(one.id, one.command as string);
  }

  /** Addresses that came with a server. */
  #learnAddresses({ server }: Json): void {
    const { name, public_net } = (server ?? {}) as { name?: string; public_net?: Record<string, Json> };
    for (const family of ["ipv4", "ipv6"]) this.#call(public_net?.[family]?.id, `${family} of ${name}`);
  }
}

/** Keys of objects and members of sets come in any order. */
function inOrder(key: string, value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => inOrder(key, item));
    return sets.test(key) ? items.sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))) : items;
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, item]) => [name, inOrder(name, item)]),
  );
}
