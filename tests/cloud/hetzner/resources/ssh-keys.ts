import { createHash } from "node:crypto";
import { z } from "zod";
import { invalidField, unique } from "../http/errors.ts";
import { answerList, filterNamed } from "../http/listing.ts";
import type { Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { labelsSchema, nameSchema, parseBody, updateSchema } from "../http/validation.ts";
import type { Stored } from "../store/documents.ts";
import { assertBelowLimit, assertNameFree, fromPath } from "./lookup.ts";

const createSchema = z.object({
  name: nameSchema,
  public_key: z.string().min(1),
  labels: labelsSchema.optional(),
});

/** MD5 of the key blob in colon form. @throws ApiError 422 when it is no OpenSSH public key. */
export function fingerprintOf(publicKey: string): string {
  const [type = "", base64 = ""] = publicKey.trim().split(/\s+/);
  const blob = Buffer.from(base64, "base64");
  // The blob begins with its own type as a length-prefixed string.
  const length = blob.length >= 4 ? blob.readUInt32BE(0) : 0;
  if (length === 0 || blob.toString("latin1", 4, 4 + length) !== type || blob.length <= 4 + length) {
    throw invalidField("public_key", "must be a public key in OpenSSH format");
  }
  const hash = createHash("md5").update(blob).digest("hex");
  return hash.replace(/..(?=.)/g, "$&:");
}

const present = (key: Stored<"ssh_key">) => ({
  id: key.id,
  name: key.name,
  fingerprint: key.fingerprint,
  public_key: key.publicKey,
  labels: key.labels,
  created: timestamp(key.created),
});

export const sshKeyRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/ssh_keys",
    handle: ({ store }, request) => {
      const fingerprint = request.query.get("fingerprint");
      return answerList(request, {
        key: "ssh_keys",
        entries: filterNamed(request, store.list("ssh_key", request.project)).filter(
          (key) => fingerprint === null || key.fingerprint === fingerprint,
        ),
        present,
        sortable: { id: (key) => key.id, name: (key) => key.name },
      });
    },
  },
  {
    method: "POST",
    path: "/ssh_keys",
    handle: (context, request) => {
      const { store, clock } = context;
      const body = parseBody(createSchema, request.body);
      const fingerprint = fingerprintOf(body.public_key);
      assertNameFree(context, "ssh_key", request.project, body.name);
      assertBelowLimit(context, "ssh_key");
      if (store.list("ssh_key", request.project).some((key) => key.fingerprint === fingerprint)) {
        throw unique("public_key", "SSH key with the same fingerprint already exists");
      }
      const key = store.insert("ssh_key", request.project, {
        name: body.name,
        publicKey: body.public_key,
        fingerprint,
        labels: body.labels ?? {},
        created: clock.now(),
      });
      return { status: 201, body: { ssh_key: present(key) } };
    },
  },
  {
    method: "GET",
    path: "/ssh_keys/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { ssh_key: present(fromPath(context, request, "ssh_key")) },
    }),
  },
  {
    method: "PUT",
    path: "/ssh_keys/{id}",
    handle: (context, request) => {
      const key = fromPath(context, request, "ssh_key");
      const patch = parseBody(updateSchema, request.body);
      if (patch.name !== undefined) {
        assertNameFree(context, "ssh_key", request.project, patch.name, key.id);
      }
      return { status: 200, body: { ssh_key: present(context.store.update("ssh_key", key, patch)) } };
    },
  },
  {
    method: "DELETE",
    path: "/ssh_keys/{id}",
    handle: (context, request) => {
      context.store.delete(fromPath(context, request, "ssh_key").id);
      return { status: 204 };
    },
  },
];
