import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { VirtualClock } from "../../virtual-clock.ts";
import { type NullBackend, nullBackend } from "../machines/null.ts";
import { type Hetzner, type HetznerOptions, startHetzner } from "./hetzner.ts";
import { Router } from "./http/router.ts";
import { loadExtract } from "./openapi/extract.ts";
import { routes } from "./routes.ts";
import type { Body, ServerView } from "./views.ts";

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  /** Null when the answer had none. */
  readonly json: unknown;
  /** The same as the tests read it. */
  readonly body: Body;
}

export interface Rig {
  readonly hetzner: Hetzner;
  readonly clock: VirtualClock;
  readonly backend: NullBackend;
  /** Sends a request and holds its answer against Hetzner's API description. */
  call(method: string, path: string, body?: unknown, token?: string | null): Promise<Reply>;
  /** The same, and the status must be a success. */
  must(method: string, path: string, body?: unknown): Promise<Body>;
  /** A server that has come up; `other` goes into the order. */
  runningServer(name: string, other?: Record<string, unknown>): Promise<ServerView>;
  /** Closes the emulator and starts it again on the same folder and clock, with the same backend or another. */
  restart(backend?: NullBackend): Promise<Hetzner>;
  close(): Promise<void>;
}

const extract = loadExtract();
const ajv = new Ajv2020({ strict: false, allErrors: true });
ajv.addSchema({ $id: "hetzner", $defs: extract.$defs });
const validators = new Map<string, ValidateFunction>();
const router = new Router(routes);

/** Operations that have given a success which the description allows, as `GET /servers/{id}`. */
export const conforming = new Set<string>();

/** @throws AssertionError when the description does not know the answer. */
function checkAgainstDescription(method: string, path: string, reply: Reply): void {
  const operation = `${method} ${router.match(method, path).route.path}`;
  const shapes = extract.operations[operation] ?? {};
  const status =
    String(reply.status) in shapes ? String(reply.status) : `${Math.floor(reply.status / 100)}xx`;
  assert.ok(status in shapes, `${operation} may not answer ${reply.status}`);
  const shape = shapes[status];
  if (shape === null) assert.equal(reply.json, null, `${operation} answers ${reply.status} without a body`);
  else {
    assert.match(reply.headers.get("content-type") ?? "", /^application\/json/);
    const key = `${operation} ${status}`;
    const text = JSON.stringify(shape).replaceAll('"#/$defs/', '"hetzner#/$defs/');
    const validate = validators.get(key) ?? ajv.compile(JSON.parse(text));
    validators.set(key, validate);
    assert.ok(validate(reply.json), `${operation} ${reply.status}: ${ajv.errorsText(validate.errors)}`);
  }
  if (reply.status < 300) conforming.add(operation);
}

/** Sends a request and holds its answer against Hetzner's API description. */
export async function callOn(
  hetzner: Hetzner,
  method: string,
  path: string,
  body?: unknown,
  token: string | null = hetzner.token,
): Promise<Reply> {
  const response = await fetch(`${hetzner.endpoint}${path}`, {
    method,
    headers: token === null ? {} : { Authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const json: unknown = text ? JSON.parse(text) : null;
  const reply = { status: response.status, headers: response.headers, json, body: json as Body };
  checkAgainstDescription(method, path.split("?")[0] ?? "", reply);
  return reply;
}

export const publicKey = (letter: string) => {
  const blob = Buffer.concat([
    Buffer.from([0, 0, 0, 11]),
    Buffer.from("ssh-ed25519"),
    Buffer.from([0, 0, 0, 32]),
    Buffer.alloc(32, letter),
  ]);
  return `ssh-ed25519 ${blob.toString("base64")} ${letter}@test`;
};

/** An emulator on a virtual clock with no machines behind it. */
export async function startRig(options: Partial<HetznerOptions> = {}): Promise<Rig> {
  const stateDir = mkdtempSync(join(tmpdir(), "clawpool-hetzner-"));
  const clock = new VirtualClock();
  const backend = nullBackend();
  const tokens = ["A", "B"].map((letter) => letter.repeat(64));
  const start = (on = backend) => startHetzner({ stateDir, backend: on, clock, tokens, ...options });
  let hetzner = await start().catch((error: unknown) => {
    rmSync(stateDir, { recursive: true });
    throw error;
  });

  const call: Rig["call"] = (method, path, body, token) => callOn(hetzner, method, path, body, token);
  const must: Rig["must"] = async (method, path, body) => {
    const reply = await call(method, path, body);
    assert.ok(reply.status < 300, `${method} ${path}: ${reply.status} ${JSON.stringify(reply.json)}`);
    return reply.body;
  };

  return {
    get hetzner() {
      return hetzner;
    },
    clock,
    backend,
    call,
    must,
    runningServer: async (name, other = {}) => {
      const made = await must("POST", "/servers", { ...serverOrder(name), ...other });
      await clock.advance(60_000);
      return (await must("GET", `/servers/${made.server.id}`)).server;
    },
    restart: async (other) => {
      await hetzner.close();
      hetzner = await start(other);
      return hetzner;
    },
    close: async () => {
      await hetzner.close();
      rmSync(stateDir, { recursive: true });
    },
  };
}

/** The least that `POST /servers` takes. */
export const serverOrder = (name: string) => ({ name, server_type: "cx23", image: "debian-12" });

/** Asserts the error's status and code, and for invalid_input the fields it names. */
export function assertError(reply: Reply, status: number, code: string, ...fields: string[]): void {
  assert.equal(reply.status, status, JSON.stringify(reply.json));
  assert.equal(reply.body.error.code, code, JSON.stringify(reply.json));
  if (fields.length === 0) return;
  const named = (reply.body.error.details?.fields ?? []).map((field) => field.name);
  assert.deepEqual(named.sort(), [...fields].sort());
}
