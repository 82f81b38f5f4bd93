/** What a folder machine takes from cloud-init's user_data: the SSH host key, and users with their keys. */
import { parse } from "yaml";

export interface BootData {
  /** OpenSSH PEM, or null: the machine makes one. */
  readonly hostKey: string | null;
  readonly users: readonly {
    readonly name: string;
    readonly sudo: string | null;
    readonly keys: readonly string[];
  }[];
}

/** Never throws: a real machine boots with a broken cloud-config too, only without what it asked for. */
export function bootData(userData: string): BootData {
  const nothing: BootData = { hostKey: null, users: [] };
  if (!userData.startsWith("#cloud-config")) return nothing;
  let document: unknown;
  try {
    document = parse(userData);
  } catch {
    return nothing;
  }
  if (!isRecord(document)) return nothing;
  const keys = isRecord(document.ssh_keys) ? document.ssh_keys : {};
  const users = Array.isArray(document.users) ? document.users.filter(isRecord) : [];
  return {
    hostKey: typeof keys.ed25519_private === "string" ? keys.ed25519_private : null,
    users: users.flatMap(({ name, sudo, ssh_authorized_keys: lines }) =>
      typeof name === "string" && /^[a-z][a-z0-9-]{0,31}$/.test(name)
        ? [
            {
              name,
              sudo: typeof sudo === "string" ? sudo : null,
              keys: Array.isArray(lines) ? lines.filter((line) => typeof line === "string") : [],
            },
          ]
        : [],
    ),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
