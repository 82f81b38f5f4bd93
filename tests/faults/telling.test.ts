/** N4 on real sockets: the store, the sender, callbacks and mail as in production; only time is virtual. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import type { Config, NotifyConfig } from "../../pool/config/config.ts";
import { parseConfig } from "../../pool/config/load.ts";
import { type Courier, createCourier, noticePolicy } from "../../pool/notify/courier.ts";
import { createSender, type Sender } from "../../pool/notify/sender.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { type MailSink, startMail } from "../cloud/mail/mail.ts";
import { env, example } from "../config/example.ts";
import { type Receiver, startReceiver } from "../notify/receiver.ts";
import { serve } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { onParts } from "./fault.ts";

const second = 1_000;
const hour = 3_600 * second;

const signingKey = `whsec_${Buffer.from("a key that nobody may be told of").toString("base64")}`;
const password = "password-of-the-mail-server";

describe("faults: nobody to tell, on real sockets", function () {
  this.timeout(120_000);
  let clock: VirtualClock;
  let store: Store;
  let sender: Sender;
  let receiver: Receiver;
  let mail: MailSink;
  let underWay: Set<Promise<void>>;

  const startOthers = async (ports: { http: number; smtp: number }) => {
    receiver = await startReceiver(signingKey, () => clock.now(), ports.http);
    mail = await startMail({ port: ports.smtp, auth: { user: "clawpool", password } });
  };
  const stopOthers = () => Promise.all([receiver?.close(), mail?.close()]);

  beforeEach(async () => {
    clock = new VirtualClock();
    underWay = new Set();
    await startOthers({ http: 0, smtp: 0 });
    const { url } = receiver;
    const { host, port } = mail;
    const callback = { url, secrets: [new Secret(signingKey)] };
    const notify: NotifyConfig = {
      operators: { callback, mail: { to: ["ada@example.com"] } },
      product: { callback },
      smtp: {
        host,
        port,
        tls: "none",
        user: "clawpool",
        password: new Secret(password),
        from: "clawpool@example.com",
      },
      digestMs: 300 * second,
    };
    const config: Config = { ...parseConfig(example, "clawpool.yaml", env), notify };
    store = openSqliteStore({
      file: ":memory:",
      sealer: createSealer([newSealingKey()]),
      clock,
      notices: () => noticePolicy(config),
      onMessage: () => sender.poke(),
    });
    const real = createCourier(() => notify, clock);
    const courier: Courier = {
      send(...message) {
        const sending = real.send(...message);
        const ended = sending.catch(() => {}).finally(() => underWay.delete(ended));
        underWay.add(ended);
        return sending;
      },
    };
    const log = pino({ level: "silent" });
    sender = createSender({ store, courier, clock, random: systemRandom, config: () => config, log });
    sender.start();
  });
  afterEach(async () => {
    await sender?.stop();
    store?.close();
    await stopOthers();
  });

  /** Virtual time passes, but not while somebody is spoken with. */
  async function pass(ms: number): Promise<void> {
    for (const end = clock.now() + ms; clock.now() < end; ) {
      await clock.advance(5 * second);
      while (underWay.size > 0) {
        await Promise.all(underWay);
        await clock.advance(0);
      }
    }
  }

  onParts(
    "N4",
    "what was to be told is told once they are back, signed, once each, and no secret",
    async () => {
      const ports = { http: receiver.port, smtp: mail.port };
      await stopOthers();
      const machine = serve(store);
      store.flag("unhealthy", machine, "m-1 is unreachable: no answer");
      await pass(12 * hour);
      store.clearFlag("unhealthy", machine, "it answers and works");
      await pass(12 * hour);
      assert.equal(store.order("o-1" as never)?.state, "running");
      assert.equal(store.flags().filter(({ kind }) => kind === "undelivered").length, 3);

      await startOthers(ports);
      await pass(2 * hour);
      assert.deepEqual(store.messages({ states: ["waiting", "given-up"] }), []);
      assert.deepEqual(store.flags(), []);
      assert.deepEqual(receiver.forged, []);
      const ids = receiver.arrived.map(({ id }) => id);
      assert.equal(new Set(ids).size, ids.length);
      const bodies = receiver.arrived.map(({ body }) => JSON.parse(body));
      assert.deepEqual(
        bodies
          .filter(({ type }) => type === "order.state")
          .map(({ data }) => data.state)
          .sort(),
        ["awaiting-payment", "provisioning", "queued", "running"],
      );
      for (const said of [
        JSON.stringify(bodies),
        mail
          .mails()
          .map(({ text }) => text)
          .join(),
      ]) {
        assert.match(said, /m-1 is unreachable: no answer/);
        assert.match(said, /it answers and works/);
      }
      const everything = [
        ...receiver.arrived.map(({ body }) => body),
        ...mail.mails().map(({ raw }) => String(raw)),
      ];
      for (const secret of [signingKey, password, "sk-customer", "token-of-the-customer", "controller-key"])
        assert(!everything.join("\n").includes(secret), secret);
    },
  );
});
