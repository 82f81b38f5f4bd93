/** What a store promises of messages to be told: written with the change, gathered, tried, kept until somebody has them. */
import { strict as assert } from "node:assert";
import type { MachineName, OrderId } from "../../../pool/machine/machine.ts";
import type { AlertEntry, Channel, Message, NoticePolicy, Store } from "../../../pool/store/store.ts";
import { makeReady, newOrder, pay, serve } from "../rows.ts";

const minute = 60_000;

export function outboxPromises(rig: {
  readonly open: (notices: () => NoticePolicy) => Store;
  readonly time: { ms: number };
}): void {
  describe("the outbox", () => {
    let store: Store;
    let policy: NoticePolicy;
    beforeEach(() => {
      policy = {
        channels: ["operators/callback", "operators/mail", "product/callback"],
        digestMs: 5 * minute,
        tellCustomerAfterMs: 5 * minute,
      };
      store = rig.open(() => policy);
    });
    afterEach(() => store.close());

    const pass = (ms: number) => {
      rig.time.ms += ms;
    };
    const waiting = (channel: Channel = "operators/mail") => store.messages({ states: ["waiting"], channel });
    const alertsOf = ({ data }: Message) => data.alerts as AlertEntry[];
    const begin = (channel: Channel = "operators/mail"): Message => {
      const { id } = store.nextMessage(channel) ?? assert.fail("nothing waits");
      return store.beginMessage(id, rig.time.ms + 1_000) ?? assert.fail("it is not waited for");
    };
    const deliver = (channel: Channel = "operators/mail"): Message => {
      const message = begin(channel);
      store.endMessage(message.id, { state: "delivered" });
      return message;
    };
    const notices = () =>
      store.messages({ channel: "product/callback" }).filter(({ type }) => type === "customer.notice");

    it("stays empty where nobody is told", () => {
      policy = { ...policy, channels: [] };
      store.flag("stuck", "m-1", "it is stuck");
      store.createOrder(newOrder("o-1"));
      store.clearFlag("stuck", "m-1", "it is gone");
      assert.deepEqual(store.messages(), []);
    });

    it("tells a flag to each channel of the operators, and its end", () => {
      store.flag("stuck", "m-1", "it is stuck");
      assert.deepEqual(
        store.messages().map(({ channel, type }) => [channel, type]),
        [
          ["operators/callback", "alerts"],
          ["operators/mail", "alerts"],
        ],
      );
      assert.deepEqual(
        alertsOf(deliver()).map(({ kind, subject, text, over }) => [kind, subject, text, over]),
        [["stuck", "m-1", "it is stuck", null]],
      );
      store.clearFlag("stuck", "m-1", "it is gone");
      assert.deepEqual(
        alertsOf(deliver()).map(({ text, over }) => [text, over]),
        [["it is stuck", "it is gone"]],
      );
    });

    it("makes one message of 500 flags, and one entry of what comes and goes", () => {
      for (let i = 0; i < 500; i++) store.flag("unhealthy", `m-${i}`, "no answer");
      store.clearFlag("unhealthy", "m-7", "it answers");
      store.flag("unhealthy", "m-7", "no answer again");
      const [message, ...others] = waiting();
      assert.deepEqual(others, []);
      const entries = alertsOf(message ?? assert.fail());
      assert.equal(entries.length, 200);
      assert.equal(message?.data.more, 300);
      assert.deepEqual([entries[7]?.times, entries[7]?.text, entries[7]?.over], [2, "no answer again", null]);
    });

    it("says nothing twice, and nothing of what was no news", () => {
      store.flag("stuck", "m-1", "it is stuck");
      deliver();
      store.flag("stuck", "m-1", "it is stuck");
      store.clearFlag("stuck", "m-2", "there was no such flag");
      assert.deepEqual(waiting(), []);
    });

    it("waits for the end of the window before it tells more, and then tells all at once", () => {
      store.flag("stuck", "m-1", "it is stuck");
      assert.equal(waiting()[0]?.nextAt, rig.time.ms + 10_000);
      pass(10_000);
      deliver();
      const told = rig.time.ms;
      pass(minute);
      store.flag("stuck", "m-2", "it is stuck");
      store.flag("stuck", "m-3", "it is stuck");
      assert.deepEqual(
        waiting().map(({ nextAt }) => nextAt),
        [told + 5 * minute],
      );
    });

    it("has another id for other alerts, also where an older database gathered them from the same moment on", () => {
      const first = rig.time.ms;
      const sent = (subject: string): string => {
        store.close();
        rig.time.ms = first;
        store = rig.open(() => policy);
        store.flag("stuck", "m-1", "it is stuck");
        const [gathering] = waiting();
        pass(5_000);
        store.flag("stuck", subject, "it is stuck, too");
        const { id } = begin();
        assert.ok(gathering && id !== gathering.id);
        return id;
      };
      const id = sent("m-2");
      assert.notEqual(sent("m-3"), id);
      assert.equal(sent("m-2"), id);
    });

    it("adds nothing to a message that was tried: its id may be known outside", () => {
      store.flag("stuck", "m-1", "it is stuck");
      const tried = begin();
      store.endMessage(tried.id, { state: "waiting", error: "503", nextAt: rig.time.ms });
      store.flag("stuck", "m-2", "it is stuck");
      assert.deepEqual(
        waiting().map((message) => alertsOf(message).map(({ subject }) => subject)),
        [["m-1"], ["m-2"]],
      );
      assert.deepEqual(store.beginMessage(tried.id, 0)?.data, tried.data);
    });

    it("writes nothing of a change that did not happen", () => {
      makeReady(store, "m-1");
      const before = store.messages().length;
      assert.throws(() => store.changeMachine("m-1" as MachineName, "booting", { state: "failed" }, "test"));
      assert.throws(() => store.createOrder({ ...newOrder("o-1"), customer: null as unknown as string }));
      assert.equal(store.messages().length, before);
    });

    it("tells the web app each state of an order, in order and with its number", () => {
      store.createOrder(newOrder("o-1"));
      makeReady(store, "m-1");
      pay(store, "o-1");
      assert.deepEqual(
        waiting("product/callback").map(({ subject, data }) => [subject, data.seq, data.state]),
        [
          ["o-1", 1, "awaiting-payment"],
          ["o-1", 2, "queued"],
          ["o-1", 3, "provisioning"],
        ],
      );
      const ids = store.messages().map(({ id }) => id);
      assert.equal(new Set(ids).size, ids.length);
    });

    it("tells a customer of a suspension that lasts, and of its end", () => {
      const machine = serve(store);
      const order = "o-1" as OrderId;
      const power = (from: "serving" | "suspending" | "suspended" | "resuming", state: typeof from) =>
        store.recordPower(machine, from, { state }, "test");
      const standing = (reason: "unpaid" | null) => ({
        suspension: reason && { reason, text: "not paid" },
        overdueSince: null,
      });
      store.recordStanding(order, standing("unpaid"), "test");
      power("serving", "suspending");
      const [notice] = notices();
      assert.deepEqual([notice?.data.state, notice?.nextAt], ["suspended", rig.time.ms + 5 * minute]);
      pass(minute);
      store.recordStanding(order, standing(null), "test");
      power("suspending", "suspended");
      power("suspended", "resuming");
      power("resuming", "serving");
      assert.deepEqual(notices(), [], "over before it was told");

      store.recordStanding(order, standing("unpaid"), "test");
      power("serving", "suspending");
      pass(5 * minute);
      for (let left = waiting("product/callback").length; left > 0; left--) deliver("product/callback");
      store.recordStanding(order, standing(null), "test");
      power("suspending", "suspended");
      power("suspended", "resuming");
      power("resuming", "serving");
      assert.deepEqual(
        notices().map(({ data }) => data.state),
        ["suspended", "running"],
      );
    });

    it("gives up, tries again from the beginning and drops, as a person says", () => {
      const ada = { actor: "person:ada" };
      store.flag("stuck", "m-1", "it is stuck");
      const { id } = begin();
      store.endMessage(id, { state: "given-up", error: "410" });
      assert.equal(store.nextMessage("operators/mail"), null);
      assert.deepEqual(store.retryMessages("msg_other", ada), []);
      assert.deepEqual(store.retryMessages(id, ada), [id]);
      assert.deepEqual(
        waiting().map(({ attempts, nextAt, error }) => [attempts, nextAt, error]),
        [[0, rig.time.ms, "410"]],
      );
      assert.deepEqual(store.dropMessages({ id }, "test", ada), [id]);
      assert.deepEqual(waiting(), []);
      store.flag("stuck", "m-2", "it is stuck");
      assert.equal(store.dropMessages({ channel: "operators/mail" }, "test").length, 1);
      const actions = store.auditRows({ subject: id }).map(({ action, actor }) => [action, actor]);
      assert.deepEqual(actions, [
        ["message.given-up", "daemon"],
        ["message.retried", "person:ada"],
        ["message.dropped", "person:ada"],
      ]);
    });

    it("makes what failed due at once when the channel works again, and forgets what was delivered a week ago", () => {
      store.flag("stuck", "m-1", "it is stuck");
      const { id } = begin();
      store.endMessage(id, { state: "waiting", error: "503", nextAt: rig.time.ms + 60 * minute });
      store.hastenMessages("operators/mail");
      assert.equal(store.nextMessage("operators/mail")?.nextAt, rig.time.ms);
      deliver();
      assert.equal(store.messages({ channel: "operators/mail" }).length, 1);
      pass(8 * 24 * 60 * minute);
      store.flag("stuck", "m-2", "it is stuck");
      deliver();
      assert.equal(store.messages({ channel: "operators/mail" }).length, 1);
    });
  });
}
