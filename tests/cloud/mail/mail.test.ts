import { strict as assert } from "node:assert";
import { connect } from "node:net";
import { createTransport, type SendMailOptions } from "nodemailer";
import { VirtualClock } from "../../virtual-clock.ts";
import { type MailOptions, type MailSink, startMail } from "./mail.ts";

describe("the mail sink, as nodemailer sees it", () => {
  let sink: MailSink;
  let clock: VirtualClock;
  const start = async (options: MailOptions = {}) => {
    clock = new VirtualClock();
    sink = await startMail({ clock, ...options });
  };
  afterEach(() => sink.close());

  const send = async (mail: SendMailOptions = {}, options: Record<string, unknown> = {}) => {
    const transport = createTransport({ host: sink.host, port: sink.port, ignoreTLS: true, ...options });
    try {
      return await transport.sendMail({
        from: "clawpool <pool@example.com>",
        to: "operator@example.com",
        subject: "Your agent is ready",
        text: "It runs.",
        ...mail,
      });
    } finally {
      transport.close();
    }
  };
  const refused = (responseCode: number) => (error: unknown) =>
    error instanceof Error && "responseCode" in error && error.responseCode === responseCode;

  it("keeps what it got: envelope, headers, text, attachments, in any alphabet", async () => {
    await start();
    await send({
      to: "Jürgen <j@example.com>, k@example.com",
      bcc: "archive@example.com",
      subject: "Grüße: 爪 🦞",
      html: "<b>Läuft.</b>",
      text: "Läuft.\n.\nEin Punkt allein.",
      attachments: [{ filename: "plan.txt", content: "a plan" }],
    });
    const [mail = assert.fail("no mail")] = sink.mails();
    assert.equal(mail.from, "pool@example.com");
    assert.deepEqual(mail.to, ["j@example.com", "k@example.com", "archive@example.com"]);
    assert.equal(mail.subject, "Grüße: 爪 🦞");
    assert.equal(mail.text.trimEnd(), "Läuft.\n.\nEin Punkt allein.");
    assert.equal(mail.html.trimEnd(), "<b>Läuft.</b>");
    assert.deepEqual(
      mail.parsed.to?.map(({ name }) => name),
      ["Jürgen", ""],
    );
    assert.equal(mail.parsed.bcc, undefined, "nobody sees who got it blindly");
    assert.equal(mail.parsed.attachments[0]?.filename, "plan.txt");
    assert.equal(mail.secure, false);
  });

  it("gives each mail out once, to whom it matches, whether they asked before or after it came", async () => {
    await start();
    const before = sink.next({ to: "b@example.com" });
    await send({ to: "a@example.com", subject: "one" });
    await send({ to: "b@example.com", subject: "two" });
    assert.equal((await before).subject, "two");
    assert.equal((await sink.next({ subject: /^one$/ })).to[0], "a@example.com");
    const third = sink.next();
    await send({ subject: "three", text: "a word" });
    assert.equal((await third).subject, "three");
    const fourth = sink.next({ text: /four/ });
    await send({ text: "number four" });
    assert.match((await fourth).text, /four/);
    assert.equal(sink.mails().length, 4);
    sink.clear();
    assert.deepEqual(sink.mails(), []);
  });

  it("speaks TLS when it is told to", async () => {
    await start({ startTls: true });
    await send({}, { ignoreTLS: false, requireTLS: true, tls: { rejectUnauthorized: false } });
    assert.equal((await sink.next()).secure, true);
    await assert.rejects(send({}, { ignoreTLS: false, requireTLS: true }), /certificate/);
  });

  it("offers no TLS when it is not", async () => {
    await start();
    await assert.rejects(send({}, { ignoreTLS: false, requireTLS: true }), /STARTTLS/);
  });

  it("asks for a password when it is told to", async () => {
    await start({ auth: { user: "pool", password: "right" } });
    await assert.rejects(send(), refused(530));
    await assert.rejects(send({}, { auth: { user: "pool", pass: "wrong" } }), refused(535));
    await send({}, { auth: { user: "pool", pass: "right" } });
    assert.equal(sink.mails().length, 1);
  });

  it("takes no mail above its size", async () => {
    await start({ maxBytes: 10_000 });
    await assert.rejects(send({ text: "x".repeat(20_000) }), refused(552));
    await send();
    assert.equal(sink.mails().length, 1);
  });

  describe("with faults", () => {
    it("refuses for now (4xx) or for good (5xx), at each step of the conversation", async () => {
      await start();
      for (const at of ["connect", "sender", "recipient", "data"] as const) {
        for (const code of [421, 554]) {
          sink.faults.add({ at, effect: { kind: "refuse", code, text: "5.0.0 not today" } });
          await assert.rejects(send(), refused(code), `${at} ${code}`);
        }
        await send();
      }
      assert.equal(sink.mails().length, 4);
      assert.deepEqual(
        sink.faults.log().map(({ effect }) => effect),
        Array(8).fill("refuse"),
      );
    });

    it("refuses one recipient of several", async () => {
      await start();
      sink.faults.add({
        at: "recipient",
        address: "gone@example.com",
        effect: { kind: "refuse", code: 550 },
      });
      const { rejected, accepted } = await send({ to: "a@example.com, gone@example.com" });
      assert.deepEqual([accepted, rejected], [["a@example.com"], ["gone@example.com"]]);
      assert.deepEqual((await sink.next()).to, ["a@example.com"]);
    });

    it("greylists: 451 until the time is over, for each sender and recipient", async () => {
      await start();
      sink.faults.add({ at: "recipient", times: null, effect: { kind: "greylist", ms: 300_000 } });
      await assert.rejects(send(), refused(451));
      await clock.advance(299_999);
      await assert.rejects(send(), refused(451));
      await clock.advance(1);
      await send();
      await assert.rejects(send({ to: "other@example.com" }), refused(451));
      assert.equal(sink.mails().length, 1);
    });

    it("is slow", async () => {
      await start();
      sink.faults.add({ at: "data", effect: { kind: "delay", ms: 60_000 } });
      let sent = false;
      const sending = send().then(() => {
        sent = true;
      });
      while (clock.waiting === 0) await new Promise((resolve) => setImmediate(resolve));
      await clock.advance(59_999);
      assert.equal(sent, false);
      await clock.advance(1);
      await sending;
      sink.faults.add({ at: "connect", effect: { kind: "delay", ms: 60_000 } });
      await assert.rejects(send({}, { greetingTimeout: 20 }), /[Gg]reeting/);
    });

    it("drops the connection: before it took the mail, or after, when nobody knows", async () => {
      await start();
      sink.faults.add({ at: "data", effect: { kind: "drop" } });
      await assert.rejects(send());
      assert.equal(sink.mails().length, 0);
      sink.faults.add({ at: "data", effect: { kind: "drop", when: "after" } });
      await assert.rejects(send());
      assert.equal(sink.mails().length, 1);
      for (const at of ["connect", "sender", "recipient"] as const) {
        sink.faults.add({ at, effect: { kind: "drop" } });
        await assert.rejects(send(), Error, at);
      }
      await send();
      assert.equal(sink.mails().length, 2);
    });
  });

  it("lives on after garbage and 200 connections that send nothing", async () => {
    await start();
    const open = (text: string) =>
      new Promise<ReturnType<typeof connect>>((resolve, reject) => {
        const socket = connect(sink.port, sink.host, () => {
          socket.write(text);
          resolve(socket);
        });
        socket.on("error", reject);
      });
    const sockets = await Promise.all(Array.from({ length: 200 }, () => open("")));
    const odd = [
      await open("\x16\x03\x01 GET / HTTP/1.1\r\n\r\n"),
      await open("EHLO x\r\nMAIL FROM:<a\r\nRCPT\r\nDATA\r\n"),
    ];
    const said = await Promise.all(
      odd.map(
        (socket) =>
          new Promise<string>((resolve) => {
            let text = "";
            socket.on("data", (data) => {
              text += data;
              if (/^[45]\d\d /m.test(text)) resolve(text);
            });
          }),
      ),
    );
    for (const text of said) assert.doesNotMatch(text, /node_modules|\.js:\d/);
    await send();
    assert.equal(sink.mails().length, 1);
    for (const socket of [...sockets, ...odd]) {
      socket.removeAllListeners("error");
      socket.on("error", () => {});
      socket.destroy();
    }
  });
});
