/** The fields of Hetzner's answers that we read, checked at the border; everything else passes unseen. */
import { z } from "zod";
import type { CloudServer } from "./cloud.ts";
import { type Answer, json } from "./wire.ts";

export const errorEnvelope = z.object({
  error: z.object({ code: z.string(), message: z.string().catch("") }),
});

export const serverShape = z.object({
  id: z.number().int().positive(),
  name: z.string(),
  status: z.string(),
  created: z.string(),
  labels: z.record(z.string(), z.string()).catch({}),
  locked: z.boolean().catch(false),
  protection: z.object({ delete: z.boolean() }).nullish().catch(null),
  public_net: z
    .object({ ipv4: z.object({ id: z.number().optional(), ip: z.string() }).nullable() })
    .nullable()
    .catch(null),
  server_type: z.object({ name: z.string() }),
  location: z.object({ name: z.string() }),
});
export type ServerShape = z.infer<typeof serverShape>;

export const actionShape = z.looseObject({
  id: z.number().int().positive(),
  command: z.string(),
  status: z.enum(["running", "success", "error"]),
  started: z.string(),
  finished: z.string().nullable().catch(null),
  resources: z.array(z.object({ id: z.number(), type: z.string() })).catch([]),
});
export type ActionShape = z.infer<typeof actionShape>;

export const paginationShape = z.object({
  meta: z.object({ pagination: z.object({ next_page: z.number().nullish() }) }),
});

export const serverTypeShape = z.object({
  name: z.string(),
  locations: z.array(z.object({ name: z.string(), available: z.boolean().catch(true) })).catch([]),
});

/** What of an answer says what went wrong. */
export type ErrorAnswer = Pick<Answer, "status" | "contentType" | "body">;

/** `error.code` and message of an answer; code null when the body is not Hetzner's envelope. */
export function errorOf(answer: ErrorAnswer): { code: string | null; message: string } {
  const parsed = errorEnvelope.safeParse(json(answer));
  if (parsed.success) return parsed.data.error;
  return { code: null, message: `server responded with status code ${answer.status}` };
}

export function cloudServer(server: ServerShape): CloudServer {
  return {
    id: server.id,
    name: server.name,
    status: server.status,
    ipv4: server.public_net?.ipv4?.ip ?? null,
    ipv4Id: server.public_net?.ipv4?.id ?? null,
    location: server.location.name,
    serverType: server.server_type.name,
    labels: server.labels,
    createdAt: Date.parse(server.created),
    isProtected: server.protection?.delete ?? false,
  };
}
