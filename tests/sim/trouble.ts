/** What becomes of a subscription that was paid for: its customer pauses, does not pay, goes to the bank, is refunded. */
import type { Story } from "./story.ts";
import type { SimSession } from "./world.ts";

/** Once or twice; some of it passes, some stays. */
export async function troubleWith(story: Story, session: SimSession): Promise<void> {
  const { world } = story;
  const { chance, clock } = world;
  const wait = () => clock.delay(story.untilTrouble());
  for (let times = chance.integer(1, 2); times > 0; times--) {
    await wait();
    const subscription = world.subscriptions.get(session.subscription ?? "");
    if (subscription?.status !== "active") return;
    const passes = chance.happens(0.7);
    const happens = async (what: string, event: string, change: Partial<typeof subscription>) => {
      const before = world.standsWell(subscription);
      Object.assign(subscription, change);
      const entitled = world.standsWell(subscription);
      if (before !== entitled && subscription.status !== "past_due") {
        world.turns.push({ order: session.order, at: clock.now(), entitled });
      }
      world.note(`subscription ${subscription.id} of ${session.order} is ${what}`);
      await story.announce(session, event);
    };
    switch (chance.pick(["pause", "past_due", "dispute", "refund"])) {
      case "pause":
        await happens("paused", "customer.subscription.paused", { status: "paused" });
        await wait();
        if (passes) await happens("resumed", "customer.subscription.resumed", { status: "active" });
        break;
      case "past_due":
        await happens("past due", "customer.subscription.updated", { status: "past_due" });
        await wait();
        if (chance.happens(0.5)) {
          await happens("unpaid", "customer.subscription.updated", { status: "unpaid" });
          await wait();
        }
        if (passes) await happens("paid again", "customer.subscription.updated", { status: "active" });
        break;
      case "dispute":
        await happens("disputed", "charge.dispute.created", { dispute: "needs_response" });
        await wait();
        if (passes) await happens("won", "charge.dispute.closed", { dispute: "won" });
        else if (chance.happens(0.5)) await happens("lost", "charge.dispute.closed", { dispute: "lost" });
        break;
      case "refund":
        await happens("refunded", "charge.refunded", { refunded: true });
        break;
    }
  }
}
