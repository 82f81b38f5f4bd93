/**
 * An SMTP sink: takes every mail, keeps it in memory, and lets a test wait for one. The server is `smtp-server`, the
 * parser `postal-mime`.
 */
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import PostalMime, { type Email } from "postal-mime";
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from "smtp-server";
import { type Clock, systemClock } from "../../../pool/clock.ts";
import { type MailEffect, MailFaults } from "./faults.ts";

export interface MailOptions {
  readonly host?: string;
  /** 0 (default) for any free one. */
  readonly port?: number;
  readonly clock?: Clock;
  /** Offer STARTTLS, with the certificate for localhost that smtp-server brings along and nobody can trust. */
  readonly startTls?: boolean;
  /** Who may send; anybody when it is not given. */
  readonly auth?: { readonly user: string; readonly password: string };
  /** Largest mail in bytes, 10 MiB by default. */
  readonly maxBytes?: number;
  /** Decides what a fault's probability hits. */
  readonly seed?: number;
  /** For whoever looks on. */
  readonly onMail?: (mail: Mail) => void;
}

export interface Mail {
  /** Epoch ms. */
  readonly receivedAt: number;
  /** Of the envelope: what the server was told, not what the mail says. */
  readonly from: string;
  readonly to: readonly string[];
  /** Whether it came through TLS. */
  readonly secure: boolean;
  readonly raw: Buffer;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  readonly parsed: Email;
}

/** All conditions hold; without any it is the next mail of all. */
export interface MailMatch {
  readonly to?: string;
  readonly subject?: string | RegExp;
  readonly text?: RegExp;
}

export interface MailSink {
  readonly host: string;
  readonly port: number;
  /** `smtp://127.0.0.1:port`, as nodemailer takes it. */
  readonly url: string;
  readonly faults: MailFaults;
  /** Everything that came, oldest first. */
  mails(): readonly Mail[];
  /** The oldest mail that matches and was not given out before; waits for it if it has not come. */
  next(match?: MailMatch): Promise<Mail>;
  /** Forgets every mail; whoever waits for one goes on waiting. */
  clear(): void;
  close(): Promise<void>;
}

type Next = (error?: Error | null) => void;

/** An error that smtp-server answers with this status. */
class Refusal extends Error {
  readonly responseCode: number;

  constructor(code: number, text: string) {
    super(text);
    this.responseCode = code;
  }
}

/** Starts the sink; it listens when the promise resolves. */
export async function startMail(options: MailOptions = {}): Promise<MailSink> {
  const { clock = systemClock, auth, maxBytes = 10 * 2 ** 20 } = options;
  const faults = new MailFaults(options.seed ?? 1, () => clock.now());
  const stop = new AbortController();
  const sockets = new Map<number, Socket>();
  /** When each pair of sender and recipient was first seen by a greylist. */
  const firstSeen = new Map<string, number>();
  let mails: Mail[] = [];
  const given = new WeakSet<Mail>();
  const waiting: { readonly match: MailMatch; readonly resolve: (mail: Mail) => void }[] = [];

  /** Works through what befalls a step. @returns false when the connection is gone. @throws Refusal */
  async function suffer(
    effects: Iterable<MailEffect>,
    session: SMTPServerSession,
    pair: string,
    commit: () => void = () => {},
  ): Promise<boolean> {
    for (const effect of effects) {
      if (effect.kind === "delay") await clock.delay(effect.ms, stop.signal);
      else if (effect.kind === "refuse") throw new Refusal(effect.code, effect.text);
      else if (effect.kind === "greylist") {
        const first = firstSeen.get(pair) ?? clock.now();
        firstSeen.set(pair, first);
        if (clock.now() - first < effect.ms)
          throw new Refusal(451, "4.7.1 Greylisted, please try again later");
      } else {
        if (effect.when === "after") commit();
        sockets.get(session.remotePort)?.destroy();
        return false;
      }
    }
    return true;
  }

  function step(
    at: "connect" | "sender" | "recipient",
    addresses: readonly string[],
    session: SMTPServerSession,
    next: Next,
  ): void {
    const { mailFrom } = session.envelope;
    const pair = `${mailFrom ? mailFrom.address : ""} ${addresses.join(" ")}`;
    suffer(faults.on(at, addresses), session, pair).then(
      (alive) => {
        if (alive) next();
      },
      (error: Error) => next(error),
    );
  }

  async function take(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<boolean> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    if (stream.sizeExceeded) throw new Refusal(552, `5.3.4 Message is larger than ${maxBytes} bytes`);
    const mail = await readMail(Buffer.concat(chunks), session, clock.now());
    const keep = () => {
      mails.push(mail);
      options.onMail?.(mail);
      const index = waiting.findIndex(({ match }) => matches(mail, match));
      const [waiter] = index === -1 ? [] : waiting.splice(index, 1);
      if (waiter) hand(mail, waiter.resolve);
    };
    const alive = await suffer(faults.on("data", mail.to), session, "", keep);
    if (alive) keep();
    return alive;
  }

  function hand(mail: Mail, resolve: (mail: Mail) => void): void {
    given.add(mail);
    resolve(mail);
  }

  const server = new SMTPServer({
    name: "sink.local",
    banner: "stand-in",
    size: maxBytes,
    hideENHANCEDSTATUSCODES: false,
    // Says, too, that the certificate is nobody's secret; that is told above.
    logger: false,
    disableReverseLookup: true,
    closeTimeout: 100,
    disabledCommands: [...(options.startTls ? [] : ["STARTTLS"]), ...(auth ? [] : ["AUTH"])],
    authOptional: auth === undefined,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, done) =>
      auth && username === auth.user && password === auth.password
        ? done(null, { user: username })
        : done(new Refusal(535, "5.7.8 Authentication credentials invalid")),
    onConnect: (session, done) => step("connect", [], session, done),
    onMailFrom: ({ address }, session, done) => step("sender", [address], session, done),
    onRcptTo: ({ address }, session, done) => step("recipient", [address], session, done),
    onData: (stream, session, done) => {
      take(stream, session).then(
        (alive) => {
          if (alive) done();
        },
        (error: Error) => {
          stream.resume();
          done(error);
        },
      );
    },
  });
  server.server.on("connection", (socket: Socket) => {
    const port = socket.remotePort ?? 0;
    sockets.set(port, socket);
    socket.once("close", () => sockets.delete(port));
  });
  // A client that goes away in the middle is what a sink is there for.
  server.on("error", () => {});
  server.listen(options.port ?? 0, options.host ?? "127.0.0.1");
  await once(server.server, "listening");
  const { address: host, port } = server.server.address() as AddressInfo;

  return {
    host,
    port,
    url: `smtp://${host}:${port}`,
    faults,
    mails: () => mails,
    next(match = {}) {
      const mail = mails.find((candidate) => !given.has(candidate) && matches(candidate, match));
      return new Promise((resolve) => {
        if (mail) hand(mail, resolve);
        else waiting.push({ match, resolve });
      });
    },
    clear() {
      mails = [];
    },
    async close() {
      stop.abort();
      for (const socket of sockets.values()) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function readMail(raw: Buffer, session: SMTPServerSession, receivedAt: number): Promise<Mail> {
  const parsed = await PostalMime.parse(raw);
  const { mailFrom, rcptTo } = session.envelope;
  return {
    receivedAt,
    from: mailFrom ? mailFrom.address : "",
    to: rcptTo.map(({ address }) => address),
    secure: session.secure,
    raw,
    subject: parsed.subject ?? "",
    text: parsed.text ?? "",
    html: parsed.html ?? "",
    parsed,
  };
}

function matches(mail: Mail, { to, subject, text }: MailMatch): boolean {
  return (
    (to === undefined || mail.to.includes(to)) &&
    (subject === undefined ||
      (typeof subject === "string" ? mail.subject === subject : subject.test(mail.subject))) &&
    (text === undefined || text.test(mail.text))
  );
}
