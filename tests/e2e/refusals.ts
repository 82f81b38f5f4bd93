/** Cases of the whole way that show what must not happen. */
import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import type { Bought, World } from "./world.ts";

/** Everything that a webhook could have changed. */
function picture({ store }: World, order: Bought): unknown {
  return {
    orders: store
      .orders()
      .map(({ id, state, machine, paidAt, releaseAt }) => [id, state, machine, paidAt, releaseAt]),
    machines: store
      .machines()
      .map(({ name, state, order: bound, generation }) => [name, state, bound, generation]),
    events: store.orderEvents(order.id, 0),
    flags: store.flags(),
  };
}

export async function webhooksThatChangeNothing(world: World, order: Bought): Promise<void> {
  const { stripe } = world.rig.cloud;
  const delivery = stripe
    .deliveries()
    .find(
      ({ type, requestBody }) => type === "checkout.session.completed" && requestBody.includes(order.session),
    );
  assert(delivery);
  const payload = delivery.requestBody;
  const event = JSON.parse(payload) as { data: { object: Record<string, unknown> } };

  async function post(body: string, signed: { payload?: string; secret?: string; at?: number } = {}) {
    const signature = Stripe.webhooks.generateTestHeaderString({
      payload: signed.payload ?? body,
      secret: signed.secret ?? stripe.webhookSecret,
      timestamp: Math.floor((signed.at ?? Date.now()) / 1_000),
    });
    const headers = { "content-type": "application/json; charset=utf-8", "stripe-signature": signature };
    const answer = await fetch(`${world.rig.daemon.url}/webhooks/stripe`, { method: "POST", headers, body });
    return answer.status;
  }
  const like = (id: string, type: string, object: Record<string, unknown> = {}) =>
    JSON.stringify({ ...event, id, type, data: { object: { ...event.data.object, ...object } } });

  const before = picture(world, order);
  assert.equal(await post(payload, { secret: `whsec_${"0".repeat(48)}` }), 400, "another secret");
  assert.equal(await post(payload.replace("paid", "Paid"), { payload }), 400, "a changed body");
  assert.equal(await post(payload, { at: Date.now() - 3_600_000 }), 400, "a signature of an hour ago");
  assert.deepEqual(picture(world, order), before);
  assert.equal(await post(payload), 200, "the same event again");
  assert.equal(await post(like("evt_again", "checkout.session.completed")), 200, "the same session again");
  const unpaid = { status: "expired", payment_status: "unpaid" };
  assert.equal(await post(like("evt_late_1", "checkout.session.expired", unpaid)), 200, "expired, too late");
  const failed = like("evt_late_2", "checkout.session.async_payment_failed", { payment_status: "unpaid" });
  assert.equal(await post(failed), 200, "failed, too late");
  assert.deepEqual(picture(world, order), before);
}

/** root may ask (cloud-init does at each boot), the agent, which runs what strangers write to it, may not. */
export async function metadataIsClosed(world: World, order: Bought): Promise<void> {
  const { nspawn } = world.rig.cloud;
  const serverId = world.store.machine(world.machineOf(order.id))?.serverId;
  assert(nspawn && serverId);
  const ask = ["curl", "-sS", "--max-time", "5", "http://169.254.169.254/hetzner/v1/userdata"];
  const byRoot = await nspawn.exec(serverId, ask);
  assert.match(byRoot.stdout, /^#cloud-config/);
  const byAgent = await nspawn.exec(serverId, ["runuser", "-u", "openclaw", "--", ...ask]);
  assert.notEqual(byAgent.code, 0);
  assert.equal(byAgent.stdout, "");
}
