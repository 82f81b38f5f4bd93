/** `notify` in clawpool.yaml: who is told of what, and how. */
import { z } from "zod";
import type { Secret } from "../secrets/secret.ts";
import type { NotifyConfig } from "./config.ts";
import { duration, units } from "./duration.ts";
import { port, secret, url } from "./fields.ts";

type Path = readonly PropertyKey[];

const isLocal = ({ hostname }: URL): boolean => ["localhost", "127.0.0.1", "[::1]"].includes(hostname);

const callback = z
  .strictObject({
    url: url
      .refine((text) => {
        const parsed = URL.parse(text);
        return parsed !== null && (parsed.protocol === "https:" || isLocal(parsed));
      }, "want https, or http to this machine itself: the texts name machines and orders")
      .refine((text) => {
        const { username = "", password = "" } = URL.parse(text) ?? {};
        return username === "" && password === "";
      }, "a password in the address would be in logs; who calls is proved by the signature"),
    secrets: z
      .array(secret)
      .min(1)
      .max(3)
      .describe("whsec_… (Standard Webhooks); each signs, so that one can be exchanged for the next"),
  })
  .describe("an address that messages are posted to, signed");

export const notifyShape = z
  .strictObject({
    operators: z
      .strictObject({
        callback: callback.nullable().default(null),
        mail: z
          .strictObject({ to: z.array(z.email()).min(1).max(20) })
          .nullable()
          .default(null),
      })
      .prefault({})
      .describe("told of everything that a person must look at, and of its end"),
    product: z
      .strictObject({ callback: callback.nullable().default(null) })
      .prefault({})
      .describe("the web app: told of each change of an order, and of what to tell its customer"),
    smtp: z
      .strictObject({
        host: z.string().min(1),
        port: port.default(587),
        tls: z
          .enum(["starttls", "implicit", "none"])
          .default("starttls")
          .describe("implicit is port 465; none is for a relay on this machine"),
        user: z.string().min(1).nullable().default(null),
        password: secret.nullable().default(null),
        from: z.email(),
      })
      .nullable()
      .default(null)
      .describe("the server that takes mails"),
    digest: duration
      .default(5 * units.m)
      .refine((ms) => ms <= units.h, "want 1h at most: alerts would come too late")
      .describe("between two messages of alerts to the same people; what comes meanwhile is one message"),
  })
  .describe("who is told of what; without anybody there are only the flags of `clawpool status`");

/** Contradictions that one field alone does not show are reported through `wrong`. */
export function resolveNotify(
  { operators, product, smtp, digest: digestMs }: z.output<typeof notifyShape>,
  read: (source: { file: string } | { env: string }, path: Path) => Secret,
  wrong: (path: Path, text: string) => void,
): NotifyConfig {
  const callback = (given: typeof operators.callback, who: string): NotifyConfig["product"]["callback"] =>
    given && {
      url: given.url,
      secrets: given.secrets.map((source, index) => {
        const path = ["notify", who, "callback", "secrets", index];
        const found = read(source, path);
        const [, key = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(found.expose()) ?? [];
        const bytes = Buffer.from(key, "base64").length;
        // An empty one was told already.
        if (found.expose() !== "" && (bytes < 24 || bytes > 64))
          wrong(path, 'want whsec_ and 24 to 64 bytes in base64: echo "whsec_$(openssl rand -base64 32)"');
        return found;
      }),
    };
  if (operators.mail && !smtp)
    wrong(["notify", "operators", "mail"], "nobody sends it: set notify.smtp (host, from)");
  if (smtp && (smtp.user === null) !== (smtp.password === null))
    wrong(["notify", "smtp", "user"], "user and password go together; a relay without them needs neither");
  if (smtp?.password && smtp.tls === "none")
    wrong(["notify", "smtp", "tls"], "the password would be sent in the clear: want starttls or implicit");
  return {
    operators: { callback: callback(operators.callback, "operators"), mail: operators.mail },
    product: { callback: callback(product.callback, "product") },
    smtp: smtp && {
      ...smtp,
      password: smtp.password && read(smtp.password, ["notify", "smtp", "password"]),
    },
    digestMs,
  };
}
