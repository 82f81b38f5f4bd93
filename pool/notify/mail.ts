/** Mail by SMTP. A repeated mail has the same Message-ID, by which most mailboxes show it once. */
import { createTransport } from "nodemailer";
import type { NotifyConfig } from "../config/config.ts";
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
import { withoutSecrets } from "../secrets/secret.ts";
import type { Envelope } from "./courier.ts";

type Smtp = NonNullable<NotifyConfig["smtp"]>;

/** For each step of the conversation; the sender's own deadline ends the whole. */
const timeoutMs = 15_000;

const transportOf = ({ host, port, tls, user, password }: Smtp) =>
  createTransport({
    host,
    port,
    secure: tls === "implicit",
    requireTLS: tls === "starttls",
    ignoreTLS: tls === "none",
    ...(user !== null && password ? { auth: { user, pass: password.expose() } } : {}),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });

/** @throws BorderError (mail), also when one of several recipients was refused and the others have it */
export async function sendMail(
  smtp: Smtp,
  to: readonly string[],
  { id, subject, text }: Envelope,
  signal: AbortSignal,
): Promise<void> {
  const transport = transportOf(smtp);
  const end = () => transport.close();
  signal.addEventListener("abort", end, { once: true });
  try {
    const { rejectedErrors: [refused] = [] } = await Promise.race([
      transport.sendMail({
        from: smtp.from,
        to: [...to],
        subject,
        text,
        messageId: `<${id}@${smtp.from.split("@")[1]}>`,
        // RFC 3834: no out-of-office replies.
        headers: { "Auto-Submitted": "auto-generated" },
      }),
      aborted(signal),
    ]);
    if (refused) throw refused;
  } catch (error) {
    throw failed(error, smtp);
  } finally {
    signal.removeEventListener("abort", end);
    transport.close();
  }
}

/** Whether the server lets us in. @throws BorderError (mail) */
export async function verifySmtp(smtp: Smtp): Promise<void> {
  const transport = transportOf(smtp);
  try {
    await transport.verify();
  } catch (error) {
    throw failed(error, smtp);
  } finally {
    transport.close();
  }
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const end = () => reject(new Error("no answer in time"));
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });

function failed(error: unknown, { host, password }: Smtp): BorderError {
  const { message, code, responseCode } = error as Error & { code?: string; responseCode?: number };
  const text = withoutSecrets(message, password ? [password.expose()] : []).slice(0, 300);
  return new BorderError(`${host}: ${text}`, {
    border: "mail",
    kind: kindOf("mail", { status: responseCode, code }),
    code: responseCode === undefined ? (code ?? "no_answer") : `smtp_${responseCode}`,
  });
}
