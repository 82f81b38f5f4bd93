import { z } from "zod";
import { ApiError, type FieldError, invalidInput } from "./errors.ts";

/**
 * Checks a request body and returns its typed form; unknown keys are ignored, as Hetzner does.
 * @throws ApiError 400 json_error when the body is no JSON object, 422 invalid_input naming every wrong field.
 */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new ApiError(400, "json_error", "the request body must be a JSON object");
  }
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const fields = new Map<string, string[]>();
  for (const issue of result.error.issues) {
    const name = issue.path.join(".") || "body";
    fields.set(name, [...(fields.get(name) ?? []), issue.message]);
  }
  throw invalidInput([...fields].map(([name, messages]): FieldError => ({ name, messages })));
}

/** Ids are positive integers up to 2^53 - 1. */
export const idSchema = z.int().positive();

/** An id or a name; JSON numbers and decimal strings both stand for ids. */
export const idOrNameSchema = z
  .union([idSchema, z.string().min(1)], "must be an ID or a name")
  .transform(String);

/** Hetzner's API description: "This field is limited to 32KiB". */
const maxUserDataBytes = 32 * 1024;

/** cloud-init's user data. */
export const userDataSchema = z
  .string()
  .refine((text) => Buffer.byteLength(text) <= maxUserDataBytes, "is too long (at most 32 KiB)");

const label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const hostname = new RegExp(`^${label}(\\.${label})*$`);

/** Server names are host names after RFC 1123. */
export const hostnameSchema = z
  .string()
  .min(1)
  .max(253, "is too long (at most 253 characters)")
  .regex(hostname, "must be a valid hostname");

/** Names of everything but servers. */
export const nameSchema = z
  .string()
  .min(1, "must not be empty")
  .max(128, "is too long (at most 128 characters)");

const dnsSubdomain = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const word = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** Why a label cannot be, or null. Rules: "Labels" in Hetzner's API description. */
function labelProblem(key: string, value: string): string | null {
  const slash = key.indexOf("/");
  const prefix = slash === -1 ? null : key.slice(0, slash);
  if (prefix === "hetzner.cloud") return `label key '${key}': the prefix hetzner.cloud/ is reserved`;
  if (prefix !== null && (prefix.length > 253 || !dnsSubdomain.test(prefix))) {
    return `label key '${key}': the prefix must be a DNS subdomain`;
  }
  if (!word.test(key.slice(slash + 1))) return `label key '${key}' is not correctly formatted`;
  if (value !== "" && !word.test(value)) return `label value '${value}' is not correctly formatted`;
  return null;
}

export const labelsSchema = z.record(z.string(), z.string()).superRefine((labels, context) => {
  for (const [key, value] of Object.entries(labels)) {
    const message = labelProblem(key, value);
    if (message) context.addIssue({ code: "custom", message });
  }
});

/** `{name?, labels?}` of every PUT. */
export const updateSchema = z.object({ name: nameSchema.optional(), labels: labelsSchema.optional() });
