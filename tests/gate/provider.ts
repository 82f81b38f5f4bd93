/**
 * Acts as terraform-provider-hcloud 1.68.0 does on the wire, after the recorded calls: the same requests in the same
 * order, and the same end for each answer. What it returns is what terraform's state would then say.
 */
import type { Secret } from "../../pool/secrets/secret.ts";
import { shapes } from "./upstream.ts";

export interface Access {
  readonly endpoint: string;
  readonly token: Secret;
}

export interface Outcome {
  /** `none`: the run failed with nothing in the state; `tainted`: it failed, and the next apply would delete it. */
  readonly state: "none" | "created" | "tainted";
  readonly id: number | null;
  readonly error: string | null;
}

interface Got {
  readonly status: number;
  readonly value: Record<string, unknown>;
}

class Failed extends Error {}

/** hcloud-go repeats these by itself (at most five times); everything else ends the run. */
const repeats = (status: number, code: string | null) =>
  code === "rate_limit_exceeded" ||
  code === "conflict" ||
  code === "timeout" ||
  status === 502 ||
  status === 504;

export async function call(access: Access, method: string, path: string, body?: unknown): Promise<Got> {
  const response = await fetch(`${access.endpoint}${path}`, {
    method,
    headers: { authorization: `Bearer ${access.token.expose()}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const content = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json") ?? false;
  return { status: response.status, value: isJson && content ? JSON.parse(content) : {} };
}

/** As `call`, with the client's own repeats. @throws Failed with the diagnostic that terraform prints. */
async function must(access: Access, method: string, path: string, body?: unknown): Promise<Got["value"]> {
  for (let tries = 1; ; tries++) {
    const got = await call(access, method, path, body).catch((error: unknown) => {
      throw new Failed(`${method} ${path}: ${error instanceof Error ? error.message : error}`);
    });
    if (got.status < 300) return got.value;
    const failure = got.value.error as { code: string; message: string } | undefined;
    if (tries <= 5 && repeats(got.status, failure?.code ?? null)) continue;
    throw new Failed(
      failure ? `${failure.message} (${failure.code})` : `server responded with status code ${got.status}`,
    );
  }
}

const idOf = (value: unknown): number => (value as { id: number }).id;

async function wait(access: Access, action: unknown): Promise<void> {
  for (;;) {
    const path = `/actions?id=${idOf(action)}&page=1&sort=status&sort=id`;
    const { actions } = await must(access, "GET", path);
    const [now] = actions as { status: string }[];
    if (!now) throw new Failed(`actions not found: [${idOf(action)}]`);
    if (now.status === "error") throw new Failed("Action failed");
    if (now.status === "success") return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export async function apply(access: Access, name: string): Promise<Outcome> {
  let id: number | null = null;
  try {
    await must(access, "GET", "/server_types?name=cx23");
    await must(access, "GET", "/images?architecture=x86&include_deprecated=true&name=ubuntu-24.04");
    await must(access, "GET", "/ssh_keys/1000003");
    const made = await must(access, "POST", "/servers", { ...shapes.order, name });
    id = idOf(made.server);
    await wait(access, made.action);
    for (const next of made.next_actions as unknown[]) await wait(access, next);
    await must(access, "GET", `/servers/${id}`);
    return { state: "created", id, error: null };
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    return { state: id === null ? "none" : "tainted", id, error: error.message };
  }
}

/** Null when the destroy went through, else the diagnostic. */
export async function destroy(access: Access, id: number): Promise<string | null> {
  try {
    const refreshed = await call(access, "GET", `/servers/${id}`);
    if (refreshed.status === 404) return null;
    const { action } = await must(access, "DELETE", `/servers/${id}`);
    await wait(access, action);
    return null;
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    return error.message;
  }
}
