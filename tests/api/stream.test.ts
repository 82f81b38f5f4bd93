import { strict as assert } from "node:assert";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { connect, type Socket } from "node:net";
import type { OrderId } from "../../pool/machine/machine.ts";
import { orderBody } from "../order/rig.ts";
import { makeReady } from "../store/rows.ts";
import { settled } from "../virtual-clock.ts";
import { type ApiRig, startApi, token } from "./rig.ts";

interface Message {
  readonly id: string;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

/** Reads server-sent events one by one; null when the stream has ended. */
async function open(url: string, lastEventId?: string) {
  const stop = new AbortController();
  const answer = await fetch(url, {
    headers: {
      authorization: `Bearer ${token}`,
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
    },
    signal: stop.signal,
  });
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const block = async (): Promise<string | null> => {
    for (;;) {
      const end = text.indexOf("\n\n");
      if (end !== -1) {
        const found = text.slice(0, end);
        text = text.slice(end + 2);
        return found;
      }
      const chunk = await reader?.read();
      if (!chunk || chunk.done) return null;
      text += chunk.value;
    }
  };
  return {
    status: answer.status,
    headers: answer.headers,
    block,
    async next(): Promise<Message | null> {
      for (;;) {
        const found = await block();
        if (found === null) return null;
        const fields = Object.fromEntries(found.split("\n").map((line) => line.split(/: (.*)/s, 2)));
        if (fields.data !== undefined) {
          return { id: fields.id ?? "", event: fields.event ?? "", data: JSON.parse(fields.data) };
        }
      }
    },
    close: () => stop.abort(),
  };
}

describe("GET /v1/orders/:id/events", () => {
  let rig: ApiRig;
  afterEach(() => rig.close());

  const made = async () => {
    const { json } = await rig.ask("POST", "/v1/orders", orderBody());
    return { url: `${rig.url}/v1/orders/${json.id}/events`, session: String(json.checkout_session) };
  };

  it("tells what was, then what comes, and ends when the order is over", async () => {
    rig = await startApi();
    const { url, session } = await made();
    const stream = await open(url);
    assert.equal(stream.headers.get("content-type"), "text/event-stream; charset=utf-8");
    const first = await stream.next();
    assert.deepEqual([first?.id, first?.event, first?.data.state], ["1", "state", "awaiting-payment"]);

    const name = makeReady(rig.store, "claw-a");
    const { subscription, sent } = rig.stripe.console.buy(session);
    await sent;
    const states = [(await stream.next())?.data.state, (await stream.next())?.data.state];
    assert.deepEqual(states, ["queued", "provisioning"]);
    const order = rig.store.orderBySession(session);
    assert(order);
    rig.store.changeMachine(name, "claimed", { state: "handing-over" }, "test");
    rig.store.appendStep(order.id, { step: "env", ms: 3 });
    const step = await stream.next();
    assert.deepEqual([step?.event, step?.data.step, step?.data.ms], ["step", "env", 3]);
    rig.store.recordServing(name, { tailnetNode: null, tailnetAddress: null });
    assert.equal((await stream.next())?.data.state, "running");
    await rig.stripe.console.cancel(subscription.id).sent;
    assert.equal((await stream.next())?.data.state, "releasing");
    // Not before the grace is over, except by a person's word.
    assert.throws(() => rig.store.releaseOrder(order.id, "test"), /grace/);
    rig.store.confirmEnd(name, "test", { actor: "person:test" });
    rig.store.recordDestroyed(name);
    assert.equal((await stream.next())?.data.state, "released");
    assert.equal(await stream.next(), null);
  });

  it("goes on after the event that Last-Event-ID names, and says 204 when nothing is left", async () => {
    rig = await startApi();
    const { url, session } = await made();
    await rig.stripe.console.expire(session).sent;
    const again = await open(url, "1");
    const message = await again.next();
    assert.deepEqual([message?.id, message?.data.state], ["2", "expired"]);
    assert.equal(await again.next(), null);
    assert.equal((await open(url, "2")).status, 204);
    const whole = await open(url);
    assert.deepEqual(
      [(await whole.next())?.id, (await whole.next())?.id, await whole.next()],
      ["1", "2", null],
    );
  });

  it("refuses a Last-Event-ID that is none", async () => {
    rig = await startApi();
    const { url } = await made();
    for (const id of ["x", "-1", "1.5", "9".repeat(30)]) assert.equal((await open(url, id)).status, 400, id);
  });

  it("keeps the connection alive with comments", async () => {
    rig = await startApi({ heartbeatMs: 1 });
    const { url } = await made();
    const stream = await open(url);
    assert.equal(await stream.block(), "retry: 1000");
    assert.match((await stream.block()) ?? "", /^id: 1\n/);
    assert.equal(await stream.block(), ": still here");
    stream.close();
  });

  it("keeps little for a reader who never reads, and cuts it off", async () => {
    rig = await startApi({ heartbeatMs: 100 });
    const { url } = await made();
    const id = url.split("/").at(-2) as OrderId;
    // More than the kernel takes for it.
    const history = 8_000_000;
    for (let i = 0; i < 100; i++) rig.store.appendStep(id, { step: "x".repeat(history / 100) });
    const { hostname, port } = new URL(url);
    const connections: Socket[] = [];
    const began = (message: unknown) => connections.push((message as { socket: Socket }).socket);
    subscribe("http.server.request.start", began);
    const socket = connect(Number(port), hostname).on("error", () => {});
    try {
      socket.pause();
      socket.write(
        `GET ${new URL(url).pathname} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`,
      );
      while (connections.length === 0) await settled();
      const [connection] = connections;
      assert(connection);
      let kept = 0;
      while (!connection.closed) {
        kept = Math.max(kept, connection.writableLength);
        await settled();
      }
      assert(kept > 0 && kept < 500_000, `${kept} bytes`);
    } finally {
      unsubscribe("http.server.request.start", began);
      socket.destroy();
    }
  });

  it("serves many readers of one order alike", async () => {
    rig = await startApi();
    const { url, session } = await made();
    const streams = await Promise.all([open(url), open(url), open(url)]);
    await rig.stripe.console.expire(session).sent;
    for (const stream of streams) {
      assert.equal((await stream.next())?.data.state, "awaiting-payment");
      assert.equal((await stream.next())?.data.state, "expired");
      assert.equal(await stream.next(), null);
    }
  });
});
