/** What a request to the gate asks for, read off method, path and body: the input of the permit table. */
import { z } from "zod";

/** Collections that belong to the platform stack. */
export const platformCollections = ["ssh_keys", "firewalls", "networks", "placement_groups"] as const;
export type PlatformCollection = (typeof platformCollections)[number];

export type GateRequest =
  /** `GET /actions?id=…`: answered from memory. */
  | { readonly kind: "actions"; readonly ids: readonly number[]; readonly single: boolean }
  | { readonly kind: "read-server"; readonly id: number; readonly path: string }
  | { readonly kind: "read"; readonly path: string }
  | { readonly kind: "create-server"; readonly order: ServerOrder | null }
  | { readonly kind: "update-server"; readonly id: number; readonly name: string | null }
  | { readonly kind: "delete-server"; readonly id: number }
  | { readonly kind: "server-action"; readonly id: number; readonly action: string }
  | { readonly kind: "platform-create"; readonly collection: PlatformCollection }
  | { readonly kind: "platform-update"; readonly collection: PlatformCollection; readonly id: number }
  | { readonly kind: "platform-delete"; readonly collection: PlatformCollection; readonly id: number }
  | {
      readonly kind: "platform-action";
      readonly collection: PlatformCollection;
      readonly id: number;
      readonly action: string;
    }
  | { readonly kind: "unknown" };

/** What `POST /servers` names, as far as we look at it. */
const serverOrder = z.object({
  name: z.string(),
  labels: z.record(z.string(), z.string()).default({}),
});
export type ServerOrder = z.infer<typeof serverOrder>;

const isPlatform = (text: string): text is PlatformCollection =>
  (platformCollections as readonly string[]).includes(text);

/**
 * Classifies one request. `path` is below `/v1` and already normalised (no dot segments, no percent signs);
 * whatever does not match exactly is `unknown`, which every permit refuses.
 */
export function classify(method: string, path: string, query: URLSearchParams, body: string): GateRequest {
  const [collection = "", second, third, fourth, ...more] = path.slice(1).split("/");
  const id = second !== undefined && /^[1-9]\d{0,15}$/.test(second) ? Number(second) : null;
  const whole = query.size > 0 ? `${path}?${query}` : path;
  if (method === "GET") {
    if (collection === "actions" && second === undefined) {
      const asked = query.getAll("id").map(Number);
      if (asked.length > 0 && asked.every((each) => Number.isSafeInteger(each) && each > 0)) {
        return { kind: "actions", ids: [...new Set(asked)], single: false };
      }
    }
    if (collection === "actions" && id !== null && third === undefined) {
      return { kind: "actions", ids: [id], single: true };
    }
    if (collection === "servers" && id !== null && third === undefined) {
      return { kind: "read-server", id, path: whole };
    }
    return { kind: "read", path: whole };
  }
  if (query.size > 0 || more.length > 0) return { kind: "unknown" };
  const action = third === "actions" && fourth !== undefined ? fourth : null;
  if (collection === "servers") {
    if (method === "POST" && second === undefined)
      return { kind: "create-server", order: read(serverOrder, body) };
    if (id === null) return { kind: "unknown" };
    if (method === "POST" && action !== null) return { kind: "server-action", id, action };
    if (third !== undefined) return { kind: "unknown" };
    if (method === "DELETE") return { kind: "delete-server", id };
    if (method === "PUT") {
      const change = read(z.object({ name: z.string().optional() }), body);
      return change ? { kind: "update-server", id, name: change.name ?? null } : { kind: "unknown" };
    }
    return { kind: "unknown" };
  }
  if (!isPlatform(collection)) return { kind: "unknown" };
  if (method === "POST" && second === undefined) return { kind: "platform-create", collection };
  if (id === null) return { kind: "unknown" };
  if (method === "POST" && action !== null) return { kind: "platform-action", collection, id, action };
  if (third !== undefined) return { kind: "unknown" };
  if (method === "PUT") return { kind: "platform-update", collection, id };
  if (method === "DELETE") return { kind: "platform-delete", collection, id };
  return { kind: "unknown" };
}

function read<T>(shape: z.ZodType<T>, body: string): T | null {
  try {
    const parsed = shape.safeParse(JSON.parse(body));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
