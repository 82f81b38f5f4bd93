/** Labels of our servers at Hetzner: how a sweep knows what is ours, and whose a machine is. */
import type { Order } from "../order/order.ts";
import type { Machine } from "./machine.ts";

/** What everything of this installation carries, the platform's stack included. */
export const ownLabels = (instance: string): Record<string, string> => ({
  "managed-by": "clawpool",
  "clawpool-instance": instance,
});

/** Selects every server of this installation. */
export const ours = (instance: string): string =>
  Object.entries(ownLabels(instance))
    .map(([label, value]) => `${label}=${value}`)
    .join(",");

const labelValue = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/**
 * Text of customers never becomes a label: the order's id is ours and the customer's is Stripe's, and each is left
 * out when it is not of a label's alphabet.
 */
export function labels(instance: string, machine: Machine, order: Order | null): Record<string, string> {
  const own: Record<string, string> = {
    ...ownLabels(instance),
    "clawpool-pool": machine.pool,
    "clawpool-machine": machine.name,
  };
  if (!order) return own;
  const bound = { "clawpool-order": order.id, "stripe-customer": order.stripeCustomer ?? "" };
  return {
    ...own,
    ...Object.fromEntries(Object.entries(bound).filter(([, value]) => labelValue.test(value))),
  };
}
