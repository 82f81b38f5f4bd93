/** Calls of the API as a test makes them: as an OAuth client with these scopes, and what comes back as it is. */
import type { LocalTailscale } from "./api.ts";

export interface Answer {
  readonly status: number;
  /** Parsed when it is JSON, else the text. */
  readonly body: unknown;
  readonly headers: Headers;
}

export interface Caller {
  readonly token: string;
  (method: string, path: string, body?: unknown): Promise<Answer>;
}

export async function callerOf(
  local: LocalTailscale,
  scopes: readonly string[],
  tags: readonly string[] = ["tag:claw-ctl"],
): Promise<Caller> {
  const { id, secret } = local.oauth.createClient({ scopes, tags });
  const form = new URLSearchParams({ client_id: id, client_secret: secret });
  const granted = await fetch(`${local.apiUrl}/oauth/token`, { method: "POST", body: form });
  const { access_token } = (await granted.json()) as { access_token: string };
  return callerWith(local, access_token);
}

export function callerWith(local: LocalTailscale, token: string): Caller {
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${local.apiUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = response.headers.get("content-type")?.startsWith("application/json");
    return {
      status: response.status,
      body: json ? (JSON.parse(text) as unknown) : text,
      headers: response.headers,
    };
  };
  return Object.assign(call, { token });
}

export interface MintedKey {
  readonly id: string;
  readonly key: string;
}

/** An auth key; `create` as in the API's description of a key's capabilities. */
export async function mintKey(call: Caller, create: object = {}, expirySeconds = 600): Promise<MintedKey> {
  const wanted = { preauthorized: true, tags: ["tag:claw-vm"], ...create };
  const capabilities = { devices: { create: wanted } };
  const { status, body } = await call("POST", "/tailnet/-/keys", { capabilities, expirySeconds });
  if (status !== 200) throw new Error(`no key: HTTP ${status} ${JSON.stringify(body)}`);
  return body as MintedKey;
}
