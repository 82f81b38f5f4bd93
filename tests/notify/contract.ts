/** What a courier promises, whoever it is: run on real sockets and on the simulation's model. */
import { strict as assert } from "node:assert";
import { BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import type { Courier, Envelope } from "../../pool/notify/courier.ts";
import { type Channel, channels } from "../../pool/store/rows.ts";
import type { CourierFault } from "../sim/world.ts";

export interface CourierUnderTest {
  readonly courier: Courier;
  /** Ids of what arrived, oldest first. */
  arrived(channel: Channel): readonly string[];
  /** What the next message to this channel meets. */
  next(channel: Channel, fault: CourierFault): void;
  /** From now on nobody is there. */
  goAway(): Promise<void>;
  close(): Promise<void>;
}

export const envelope = (id: string): Envelope => ({
  id,
  subject: "[clawpool test] stuck m-1",
  text: "m-1 is stuck: für länger als 5 Minuten",
  json: JSON.stringify({ type: "alerts", data: { text: "für länger als 5 Minuten" } }),
});

export function courierContract(name: string, open: () => Promise<CourierUnderTest>): void {
  describe(`${name}: a courier's promises`, () => {
    let under: CourierUnderTest;
    beforeEach(async () => {
      under = await open();
    });
    afterEach(() => under?.close());

    const send = (channel: Channel, id: string, signal = new AbortController().signal) =>
      under.courier.send(channel, envelope(id), signal);
    const fails = (channel: Channel, kind: BorderErrorKind) => (error: unknown) => {
      assert.ok(error instanceof BorderError, String(error));
      const border = channel === "operators/mail" ? "mail" : "callback";
      assert.deepEqual([error.border, error.kind], [border, kind], error.message);
      return true;
    };

    for (const channel of channels) {
      it(`brings a message to ${channel}, again under the same id, and to nobody else`, async () => {
        await send(channel, "msg_1");
        await send(channel, "msg_1");
        await send(channel, "msg_2");
        assert.deepEqual(under.arrived(channel), ["msg_1", "msg_1", "msg_2"]);
        for (const other of channels) if (other !== channel) assert.deepEqual(under.arrived(other), []);
      });

      it(`says that ${channel} refuses for now, and may be asked again`, async () => {
        under.next(channel, "refused");
        await assert.rejects(send(channel, "msg_1"), fails(channel, "transient"));
        await send(channel, "msg_1");
        assert.deepEqual(under.arrived(channel), ["msg_1"]);
      });

      it(`says that ${channel} does not accept our credentials`, async () => {
        under.next(channel, "credentials");
        await assert.rejects(send(channel, "msg_1"), fails(channel, "auth"));
        assert.deepEqual(under.arrived(channel), []);
      });

      it(`does not say that ${channel} has it when the answer is lost, though it may`, async () => {
        under.next(channel, "lost answer");
        await assert.rejects(send(channel, "msg_1"), fails(channel, "transient"));
        assert.deepEqual(under.arrived(channel), ["msg_1"]);
      });

      it(`stops waiting for ${channel} when it is told to`, async () => {
        under.next(channel, "silent");
        const patience = new AbortController();
        const sending = send(channel, "msg_1", patience.signal);
        setImmediate(() => patience.abort());
        await assert.rejects(sending, fails(channel, "transient"));
      });

      it(`says that nobody is there on the way to ${channel}`, async () => {
        await under.goAway();
        await assert.rejects(send(channel, "msg_1"), fails(channel, "transient"));
      });
    }
  });
}
