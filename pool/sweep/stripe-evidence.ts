/** What the sweep of Stripe makes of a fetched object: a finding, as long as the store does not know it, and its repair. */
import { isPaid } from "../order/confirm.ts";
import type { OrderDesk } from "../order/desk.ts";
import { hasEnded } from "../order/entitlement.ts";
import { unservedFlag } from "../order/payments.ts";
import type { Store } from "../store/store.ts";
import type { CheckoutSession, Subscription } from "../stripe/stripe.ts";
import {
  endFinding,
  type Known,
  type StripeFinding,
  sessionFinding,
  unservedFinding,
} from "./stripe-findings.ts";

/** A fetched object, and what is to be made of it. */
export interface Evidence {
  readonly finding: (known: Known) => StripeFinding | null;
  readonly repair: (finding: StripeFinding) => void;
}

export interface EvidenceMaker {
  /**
   * @param fetched subscriptions that were asked for by their ids
   * @param alive ids of subscriptions that a list showed as not ended
   * @returns what can be said; of a paid one whose subscription was not fetched only that no order has it
   */
  ofSession(session: CheckoutSession, fetched: readonly Subscription[], alive: ReadonlySet<string>): Evidence;
  ofEnd(subscription: Subscription): Evidence;
  ofUnserved(subscription: Subscription): Evidence;
}

export function createEvidence({
  store,
  desk,
}: {
  store: Pick<Store, "flag">;
  desk: Pick<OrderDesk, "sessionFound" | "endFound">;
}): EvidenceMaker {
  /** No order is served by it, so its subscription does not matter. */
  function unknownAlone(session: CheckoutSession): Evidence {
    return {
      finding(facts) {
        const finding = sessionFinding(session, facts);
        return finding?.kind === "unknown-payment" ? finding : null;
      },
      repair: () => void desk.sessionFound(session),
    };
  }

  return {
    ofSession(session, fetched, alive) {
      const subscription = fetched.find(({ id }) => id === session.subscription) ?? null;
      const uncertain = session.subscription !== null && !alive.has(session.subscription);
      // Its subscription could not be asked for: paid or over, the next look says.
      if (isPaid(session) && uncertain && subscription === null) return unknownAlone(session);
      return {
        finding: (facts) => sessionFinding(session, facts),
        repair() {
          if (subscription && hasEnded(subscription)) desk.endFound(subscription);
          desk.sessionFound(session);
        },
      };
    },
    ofEnd: (subscription) => ({
      finding: (facts) => endFinding(subscription, facts),
      repair: () => void desk.endFound(subscription),
    }),
    ofUnserved: (subscription) => ({
      finding: (facts) => unservedFinding(subscription, facts),
      repair: ({ text }) => store.flag(unservedFlag, subscription.id, text),
    }),
  };
}
