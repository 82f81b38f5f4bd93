/** Objects as the Stripe border hands them on, in order unless told otherwise. */
import type { Charge, Standing, Subscription } from "../../pool/stripe/stripe.ts";

export const subscription = (change: Partial<Subscription> = {}): Subscription => ({
  id: "sub_1",
  status: "active",
  customer: "cus_1",
  metadata: {},
  endedAt: null,
  cancelReason: null,
  endsAt: null,
  pausedBecause: null,
  collectionPaused: false,
  latestInvoice: { id: "in_1", status: "paid", reason: "subscription_create" },
  ...change,
});

export const charge = (change: Partial<Charge> = {}): Charge => ({
  id: "ch_1",
  amount: 900,
  amountRefunded: 0,
  disputes: [],
  ...change,
});

export const standing = (
  change: Partial<Subscription> = {},
  charges: readonly Charge[] = [charge()],
): Standing => ({ subscription: subscription(change), charges });
