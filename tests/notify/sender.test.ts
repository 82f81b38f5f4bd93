import { strict as assert } from "node:assert";
import { pino } from "pino";
import type { Config } from "../../pool/config/config.ts";
import { parseConfig } from "../../pool/config/load.ts";
import { BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import { type Courier, type Envelope, noticePolicy } from "../../pool/notify/courier.ts";
import { createSender, type Sender } from "../../pool/notify/sender.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Channel, Store } from "../../pool/store/store.ts";
import { env, example } from "../config/example.ts";
import { newOrder } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

const callback = { url: "https://receiver.example/", secrets: [new Secret("whsec_unused")] };
const parsed = parseConfig(example, "clawpool.yaml", env);

describe("the sender of messages", () => {
  let clock: VirtualClock;
  let store: Store;
  let sender: Sender;
  let config: Config;
  /** What each channel does with what it gets. */
  let answers: Partial<Record<Channel, (envelope: Envelope, signal: AbortSignal) => Promise<void> | void>>;
  let tried: { readonly channel: Channel; readonly envelope: Envelope; readonly at: number }[];

  beforeEach(() => {
    clock = new VirtualClock();
    answers = {};
    tried = [];
    config = {
      ...parsed,
      notify: {
        ...parsed.notify,
        operators: { callback, mail: { to: ["ada@example.com"] } },
        product: { callback },
      },
    };
    store = openSqliteStore({
      file: ":memory:",
      sealer: createSealer([newSealingKey()]),
      clock,
      notices: () => noticePolicy(config),
      onMessage: () => sender.poke(),
    });
    const courier: Courier = {
      async send(channel, envelope, signal) {
        tried.push({ channel, envelope, at: clock.now() });
        await answers[channel]?.(envelope, signal);
      },
    };
    const log = pino({ level: "silent" });
    sender = createSender({ store, courier, clock, random: systemRandom, config: () => config, log });
    sender.start();
  });
  afterEach(async () => {
    await sender.stop();
    store.close();
  });

  const refuse = (kind: BorderErrorKind = "transient", retryAfterMs = 0) => {
    throw new BorderError("answered 503", { border: "callback", kind, retryAfterMs });
  };
  const triesOf = (channel: Channel) => tried.filter((one) => one.channel === channel);
  const idsOf = (channel: Channel) => triesOf(channel).map(({ envelope }) => envelope.id);
  const undelivered = () => store.flags().filter(({ kind }) => kind === "undelivered");
  const order = (id: string) => store.createOrder(newOrder(id));

  it("tells the web app at once, operators after what belongs together has come", async () => {
    order("o-1");
    store.flag("stuck", "m-1", "m-1 is stuck");
    store.flag("below-floor", "small-eu", "the pool has none");
    await clock.advance(0);
    assert.deepEqual(
      tried.map(({ channel }) => channel),
      ["product/callback"],
    );
    await clock.advance(10 * second);
    const [alerts] = triesOf("operators/mail");
    assert.equal(alerts?.envelope.subject, "[clawpool test] stuck m-1 and 1 more");
    assert.match(alerts?.envelope.text ?? "", /m-1 is stuck.*the pool has none/s);
    const { type, data } = JSON.parse(triesOf("operators/callback")[0]?.envelope.json ?? "");
    assert.deepEqual(
      [type, data.instance, data.alerts.length, data.alerts[0].state],
      ["alerts", "test", 2, "raised"],
    );
    assert.deepEqual(store.messages({ states: ["waiting", "given-up"] }), []);
    await clock.advance(day);
    assert.equal(tried.length, 3, "nothing is told twice");
  });

  it("tries again by its schedule, the same text under the same id, and gives up after three days", async () => {
    answers["product/callback"] = () => refuse();
    order("o-1");
    await clock.advance(5 * day);
    const tries = triesOf("product/callback");
    assert.equal(new Set(tries.map(({ envelope }) => JSON.stringify(envelope))).size, 1);
    const pauses = tries.slice(1).map(({ at }, index) => at - (tries[index]?.at ?? 0));
    const wanted = [5 * second, 30 * second, 2 * minute, 10 * minute];
    for (const [index, pause] of pauses.entries()) {
      const want = wanted[index] ?? 30 * minute;
      assert(pause >= want * 0.9 && pause <= want * 1.1, `${index}: ${pause}`);
    }
    const lasted = (tries.at(-1)?.at ?? 0) - (tries[0]?.at ?? 0);
    assert(lasted >= 3 * day && lasted < 3 * day + 2 * hour);
    const [message] = store.messages({ states: ["given-up"] });
    assert.deepEqual([message?.error, message?.attempts], ["answered 503", tries.length]);
    assert.match(undelivered()[0]?.text ?? "", /given up/);
  });

  it("is told of by the other channels while one takes nothing, and when that is over", async () => {
    answers["product/callback"] = () => refuse();
    order("o-1");
    await clock.advance(hour);
    assert.match(undelivered()[0]?.text ?? "", /product\/callback are not taken/);
    const [alert] = triesOf("operators/mail");
    assert.match(alert?.envelope.subject ?? "", /undelivered product\/callback/);
    answers = {};
    await clock.advance(day);
    assert.deepEqual(undelivered(), []);
    assert.match(triesOf("operators/mail").at(-1)?.envelope.text ?? "", /messages are taken again/);
  });

  it("says at once that credentials are refused", async () => {
    answers["product/callback"] = () => refuse("auth");
    order("o-1");
    await clock.advance(second);
    assert.equal(undelivered().length, 1);
  });

  it("gives up at once what can never be taken, and goes on with the next", async () => {
    answers["product/callback"] = ({ json }) => {
      if (json.includes("o-1")) refuse("permanent");
    };
    order("o-1");
    order("o-2");
    await clock.advance(second);
    assert.equal(triesOf("product/callback").length, 2);
    assert.deepEqual(
      store.messages({ channel: "product/callback" }).map(({ state }) => state),
      ["given-up", "delivered"],
    );
  });

  it("asks a channel that is gone at most each five minutes, and brings all as soon as it is back", async () => {
    answers["product/callback"] = () => refuse();
    for (let i = 0; i < 100; i++) order(`o-${i}`);
    await clock.advance(day);
    assert(triesOf("product/callback").length < 12 * 24 * 1.2);
    const before = tried.length;
    answers = {};
    await clock.advance(10 * minute);
    const brought = tried.slice(before).filter(({ channel }) => channel === "product/callback");
    const last = brought.at(-1)?.at ?? 0;
    assert.equal(new Set(brought.map(({ envelope }) => envelope.id)).size, 100);
    assert(last - (brought[0]?.at ?? 0) < second);
    assert.deepEqual(store.messages({ states: ["waiting", "given-up"] }), []);
  });

  it("keeps to the pause that a receiver asks for, up to an hour", async () => {
    answers["product/callback"] = () => refuse("transient", 10 * minute);
    order("o-1");
    await clock.advance(10 * minute - second);
    assert.equal(tried.length, 1);
    await clock.advance(2 * second);
    assert.equal(tried.length, 2);
  });

  it("waits 30 s for an answer, and lets a silent channel hold up no other", async () => {
    answers["product/callback"] = () => new Promise(() => {});
    order("o-1");
    order("o-2");
    store.flag("stuck", "m-1", "m-1 is stuck");
    await clock.advance(29 * second);
    assert.equal(triesOf("product/callback").length, 1);
    assert.equal(triesOf("operators/mail").length, 1);
    await clock.advance(10 * second);
    assert(triesOf("product/callback").length > 1);
  });

  it("sends again what it had begun when it was stopped", async () => {
    let signal: AbortSignal | undefined;
    answers["product/callback"] = (_, given) => {
      signal = given;
      return new Promise(() => {});
    };
    order("o-1");
    await clock.advance(0);
    await sender.stop();
    assert.equal(signal?.aborted, true);
    const [message] = store.messages({ states: ["waiting"] });
    assert.deepEqual([message?.attempts, message?.error], [1, null]);
  });

  it("does what a person says: again, or to nobody", async () => {
    answers["product/callback"] = () => refuse("permanent");
    order("o-1");
    order("o-2");
    await clock.advance(second);
    const [first = "", second_ = ""] = idsOf("product/callback");
    answers = {};
    assert.deepEqual(sender.retry(first, "person:ada"), [first]);
    await clock.advance(second);
    assert.deepEqual(idsOf("product/callback"), [first, second_, first]);
    assert.equal(undelivered().length, 1);
    assert.deepEqual(sender.drop(second_, "person:ada"), [second_]);
    assert.deepEqual(undelivered(), []);
    assert.deepEqual(sender.retry(second_, "person:ada"), []);
  });

  it("forgets what was for somebody who is not configured any more", async () => {
    answers["product/callback"] = () => refuse("auth");
    order("o-1");
    await clock.advance(second);
    config = { ...config, notify: { ...config.notify, product: { callback: null } } };
    sender.poke();
    await clock.advance(0);
    assert.deepEqual(store.messages({ channel: "product/callback" }), []);
    assert.deepEqual(undelivered(), []);
  });

  it("sends a test to everybody and says what became of it", async () => {
    answers["operators/mail"] = () => refuse("auth");
    const results = await sender.test("person:ada");
    assert.deepEqual(
      results.map(({ channel, ok }) => [channel, ok]),
      [
        ["operators/callback", true],
        ["operators/mail", false],
        ["product/callback", true],
      ],
    );
    assert.equal(results[1]?.detail, "auth: answered 503");
    const rows = store.auditRows().filter(({ action }) => action === "message.test");
    assert.deepEqual(
      rows.map(({ actor }) => actor),
      Array(3).fill("person:ada"),
    );
  });

  it("tells nothing that has the shape of a secret", async () => {
    const secret = "sk_live_abcdefghijklmnopqrstuvwx";
    store.flag("stuck", "m-1", `it printed ${secret}\r\nBcc: everybody@example.com`);
    await clock.advance(minute);
    for (const { envelope } of tried) {
      assert(!JSON.stringify(envelope).includes(secret));
      assert.doesNotMatch(envelope.subject, /[\r\n]/);
    }
    assert.equal(tried.length, 2);
  });
});
