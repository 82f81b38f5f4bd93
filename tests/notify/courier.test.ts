import { strict as assert } from "node:assert";
import { systemClock } from "../../pool/clock.ts";
import type { NotifyConfig } from "../../pool/config/config.ts";
import { BorderError } from "../../pool/errors.ts";
import { type Courier, createCourier } from "../../pool/notify/courier.ts";
import { verifySmtp } from "../../pool/notify/mail.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { type MailSink, startMail } from "../cloud/mail/mail.ts";
import type { CourierFault } from "../sim/world.ts";
import { courierContract, envelope } from "./contract.ts";
import { type Receiver, type ReceiverFault, startReceiver } from "./receiver.ts";

const key = (fill: number) => `whsec_${Buffer.alloc(32, fill).toString("base64")}`;

interface Parts {
  readonly operators: Receiver;
  readonly product: Receiver;
  readonly mail: MailSink;
  readonly config: NotifyConfig;
  close(): Promise<void>;
}

async function startParts(): Promise<Parts> {
  const mail = await startMail({ auth: { user: "clawpool", password: "mail-password" } });
  const operators = await startReceiver(key(1));
  const product = await startReceiver(key(2));
  return {
    operators,
    product,
    mail,
    config: {
      operators: {
        callback: { url: operators.url, secrets: [new Secret(key(1))] },
        mail: { to: ["ada@example.com", "bob@example.com"] },
      },
      // The old one first, as in the middle of an exchange.
      product: { callback: { url: product.url, secrets: [new Secret(key(3)), new Secret(key(2))] } },
      smtp: {
        host: mail.host,
        port: mail.port,
        tls: "none",
        user: "clawpool",
        password: new Secret("mail-password"),
        from: "clawpool@example.com",
      },
      digestMs: 300_000,
    },
    async close() {
      await Promise.all([mail.close(), operators.close(), product.close()]);
    },
  };
}

courierContract("HTTP and SMTP", async () => {
  const { operators, product, mail, config, close } = await startParts();
  const answers: Readonly<Record<CourierFault, ReceiverFault>> = {
    refused: { status: 503 },
    credentials: { status: 401 },
    "lost answer": "cut",
    silent: "silent",
  };
  return {
    courier: createCourier(() => config, systemClock),
    arrived: (channel) =>
      channel === "operators/mail"
        ? mail.mails().map(({ parsed }) => parsed.messageId?.replace(/^<|@.*$/g, "") ?? "")
        : (channel === "product/callback" ? product : operators).arrived.map(({ id }) => id),
    next(channel, fault) {
      if (channel !== "operators/mail")
        (channel === "product/callback" ? product : operators).faults.push(answers[fault]);
      else if (fault === "refused") mail.faults.add({ at: "data", effect: { kind: "refuse", code: 451 } });
      else if (fault === "credentials")
        mail.faults.add({ at: "sender", effect: { kind: "refuse", code: 530 } });
      else if (fault === "lost answer")
        mail.faults.add({ at: "data", effect: { kind: "drop", when: "after" } });
      else mail.faults.add({ at: "connect", effect: { kind: "delay", ms: 3_600_000 } });
    },
    goAway: close,
    close,
  };
});

describe("callbacks and mail", () => {
  let parts: Parts;
  let courier: Courier;
  beforeEach(async () => {
    parts = await startParts();
    courier = createCourier(() => parts.config, systemClock);
  });
  afterEach(() => parts?.close());

  const send = (channel: "operators/callback" | "operators/mail" | "product/callback") =>
    courier.send(channel, envelope("msg_1"), new AbortController().signal);
  const said = async (sending: Promise<void>): Promise<BorderError> => {
    const error = await sending.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof BorderError, String(error));
    return error;
  };

  it("are refused by whoever has another secret", async () => {
    const callback = { url: parts.operators.url, secrets: [new Secret(key(9))] };
    courier = createCourier(
      () => ({ ...parts.config, operators: { ...parts.config.operators, callback } }),
      systemClock,
    );
    assert.equal((await said(send("operators/callback"))).kind, "auth");
    assert.deepEqual(parts.operators.forged, ["msg_1"]);
  });

  it("take a redirect for a failure, and bring nothing to where it leads", async () => {
    const { url } = parts.operators;
    parts.product.faults.push({ status: 307, headers: { location: url } });
    assert.deepEqual((await said(send("product/callback"))).code, "http_307");
    assert.deepEqual(parts.operators.arrived, []);
  });

  it("say how long a receiver wants to be left alone, and that it wants nothing any more", async () => {
    parts.product.faults.push({ status: 429, headers: { "retry-after": "120" } }, { status: 410 });
    const limited = await said(send("product/callback"));
    assert.deepEqual([limited.kind, limited.retryAfterMs], ["transient", 120_000]);
    assert.equal((await said(send("product/callback"))).kind, "permanent");
  });

  it("are one mail to all recipients, with words, no out-of-office answers, and the id", async () => {
    await send("operators/mail");
    const [mail] = parts.mail.mails();
    assert.deepEqual(mail?.to, ["ada@example.com", "bob@example.com"]);
    assert.equal(mail?.subject, "[clawpool test] stuck m-1");
    assert.equal(mail?.text.trim(), "m-1 is stuck: für länger als 5 Minuten");
    const headers = new Map(mail?.parsed.headers.map(({ key: name, value }) => [name, value]));
    assert.equal(headers.get("auto-submitted"), "auto-generated");
    assert.equal(headers.get("message-id"), "<msg_1@example.com>");
  });

  it("say that a recipient is refused for good, though another has it", async () => {
    parts.mail.faults.add({
      at: "recipient",
      address: "bob@example.com",
      effect: { kind: "refuse", code: 550 },
    });
    assert.equal((await said(send("operators/mail"))).kind, "permanent");
    assert.deepEqual(parts.mail.mails()[0]?.to, ["ada@example.com"]);
  });

  it("never tell a password, and never send it or a mail without TLS where TLS is wanted", async () => {
    const { smtp } = parts.config;
    assert(smtp);
    await verifySmtp(smtp);
    const wrong = { ...smtp, password: new Secret("wrong-password") };
    const refused = await said(verifySmtp(wrong));
    assert.deepEqual([refused.kind, refused.code], ["auth", "smtp_535"]);
    assert(!refused.message.includes("wrong-password"));
    courier = createCourier(() => ({ ...parts.config, smtp: { ...smtp, tls: "starttls" } }), systemClock);
    assert.match((await said(send("operators/mail"))).message, /STARTTLS/);
    assert.deepEqual(parts.mail.mails(), []);
  });
});
