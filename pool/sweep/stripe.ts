/**
 * Stripe against the store, within every 15 minutes and at each start: what customers are entitled to is computed anew from
 * fetched objects, so a webhook that was lost, or never made, costs minutes and not a customer.
 *
 * Lists find, ids decide: sessions come by the day they were made, subscriptions all that are not cancelled, 100 a call.
 * What a list lacks proves nothing; only an object that Stripe showed does. Whatever it says goes the way of its webhook.
 */
import type { Logger } from "pino";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import type { OrderId } from "../machine/machine.ts";
import { isPaid } from "../order/confirm.ts";
import type { OrderDesk } from "../order/desk.ts";
import { hasEnded } from "../order/entitlement.ts";
import { isForeign, uncollectedOrder } from "../order/payments.ts";
import type { Store } from "../store/store.ts";
import type { CheckoutSession, StripeGateway } from "../stripe/stripe.ts";
import { type Asking, createAsking, isRefusal, nothingSettled, tellRefusal } from "./stripe-asking.ts";
import { createEvidence } from "./stripe-evidence.ts";
import {
  type Known,
  openStates,
  type StripeFinding,
  sessionFinding,
  standingFinding,
  suspects,
  unservedFinding,
} from "./stripe-findings.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/**
 * Asked each minute, so a look comes every 14 minutes; with the wait for webhooks on their way, whatever was lost is
 * repaired within 15.
 */
const everyMs = 13.5 * minute;
/** After a look that failed, or that did not get all it asked for. */
const againMs = minute;
/** A session is open for 24 hours at most (Stripe's API reference, `expires_at`), so what ended since was made since. */
const sessionLifeMs = 25 * hour;
/** Debits and transfers take two weeks at most; after that nobody asks for a session any more. */
const clearingMs = 30 * day;
/** A webhook that is on its way gets this long before it counts as lost. */
const onItsWayMs = 15 * second;
/** Objects of one list, so 100 calls at most. */
const mostListed = 10_000;
const all = 1_000_000;
/** A bank tells of most disputes within 120 days of the payment, and decides about them within 90 (Stripe, "Disputes"). */
const disputedMs = 120 * day;

export interface StripeReport {
  readonly findings: readonly StripeFinding[];
  /** Epoch ms: sessions made since then were listed. */
  readonly since: number;
  readonly sessions: number;
  readonly subscriptions: number;
  /** What was left out, in words: lists that were cut, objects that could not be asked for. */
  readonly gaps: readonly string[];
}

export interface StripeSweep {
  /**
   * A look and its repairs, when one is due. Never throws: what failed is logged and due again in a minute, and so is a
   * look that left something unasked; it goes on with that.
   *
   * @returns whether the last look did well
   */
  runIfDue(): Promise<boolean>;
  /**
   * A look now. `dryRun` changes nothing; `sinceMs` is how far back sessions are listed.
   * @throws BorderError when Stripe cannot be asked
   */
  reconcile(request: ReconcileRequest): Promise<StripeReport>;
  /** Looks under way end at their next answer, without touching the store again. */
  stop(): void;
}

export interface ReconcileRequest {
  readonly dryRun: boolean;
  readonly sinceMs?: number | undefined;
  readonly actor: string;
}

/** What is remembered from look to look. */
const memoryShape = z.object({
  since: z.number(),
  /** Sessions that had ended before this were seen as they are now. */
  seenUntil: z.number(),
  /** Complete sessions of no order that we can name yet, whose payment has not cleared: when they were first seen. */
  pending: z.record(z.string(), z.number()),
  /** The last that was asked for; the next look begins behind it. */
  asked: z.object({ session: z.string(), subscription: z.string(), standing: z.string().default("") }),
});
type Memory = z.output<typeof memoryShape>;
const memoryKey = "stripe-sweep";

class Stopped extends Error {}

export function createStripeSweep(options: {
  store: Store;
  stripe: StripeGateway;
  desk: Pick<OrderDesk, "sessionFound" | "endFound" | "review">;
  clock: Clock;
  instance: () => string;
  log: Logger;
  /** Told of each repair: a webhook was lost. */
  onRepair: (kind: StripeFinding["kind"]) => void;
}): StripeSweep {
  const { store, stripe, desk, clock, instance, log } = options;
  const { ofSession, ofEnd, ofUnserved } = createEvidence({ store, desk });
  const stopping = new AbortController();
  let dueAt = Number.NEGATIVE_INFINITY;
  let last: Promise<unknown> = Promise.resolve();
  let busy = false;
  let settled = nothingSettled;
  let didWell = false;

  async function answered<T>(call: Promise<T>): Promise<T> {
    const [answer] = await Promise.allSettled([call]);
    if (stopping.signal.aborted) throw new Stopped("the daemon stops");
    if (answer.status === "rejected") throw answer.reason;
    return answer.value;
  }

  function remembered(): Memory {
    const text = store.setting(memoryKey);
    if (text !== null) return memoryShape.parse(JSON.parse(text));
    const now = clock.now();
    return {
      since: now,
      seenUntil: now,
      pending: {},
      asked: { session: "", subscription: "", standing: "" },
    };
  }

  const known = (memory: Memory): Known => ({ store, instance, flags: store.flags(), since: memory.since });

  async function look(before: Memory, since: number, asking: Asking) {
    const startedAt = clock.now();
    const { gaps } = asking;
    // Before anything else, so that an order which is paid meanwhile is not taken for one without a subscription.
    const live = await answered(stripe.subscriptions(mostListed));
    if (!live.complete) gaps.push(`more than ${mostListed} subscriptions: the oldest were not listed`);
    const sessions = await listSessions(since, gaps);
    const listed = new Set(sessions.found.map(({ id }) => id));

    // Lists show a checkout whose payment failed as unpaid for good; asked for by its id it may have been collected since.
    const unpaid = new Set(sessions.found.filter((session) => !isPaid(session)).map(({ id }) => id));
    const collected = live.found.flatMap((one) => {
      const { order, session } = uncollectedOrder(one, { store, instance }) ?? {};
      return session && (unpaid.has(session) || order?.state === "expired") ? [session] : [];
    });
    const asked = await asking.askFor(
      "session",
      [...unlistedSessions(before, listed, startedAt), ...collected],
      (id) => answered(stripe.fetchSession(id)),
    );
    const fetched = new Set(asked.map(({ id }) => id));
    const seen = [...sessions.found.filter(({ id }) => !fetched.has(id)), ...asked];
    const facts = known(before);
    const alive = new Set(live.found.filter((one) => !hasEnded(one)).map(({ id }) => id));
    // What is paid may have ended already; it must not be served for that long.
    const justPaid = seen
      .filter((session) => sessionFinding(session, facts)?.kind === "payment")
      .map(({ subscription }) => subscription);
    const bound = store.orders({ states: openStates, limit: all }).filter(({ endedAt }) => endedAt === null);
    const unlisted = [...justPaid, ...bound.map(({ subscription }) => subscription)].filter(
      (id): id is string => id !== null && !alive.has(id),
    );
    // The order was over when Stripe is asked once more: then it is no order that ends at this moment.
    const unserved = live.found.filter((one) => unservedFinding(one, facts) !== null).map(({ id }) => id);
    const subscriptions = await asking.askFor("subscription", [...unlisted, ...unserved], (id) =>
      answered(stripe.fetchSubscription(id)),
    );
    const claimants = await claimantsSince(since, startedAt, gaps);
    const standings = await asking.askFor("standing", suspects(bound, live.found, claimants), async (id) => ({
      review: await answered(desk.review(id, { dryRun: true })),
    }));
    const after: Memory = {
      since: before.since,
      seenUntil: sessions.complete ? Math.max(before.seenUntil, startedAt) : before.seenUntil,
      pending: pendingAfter(before, seen, startedAt),
      asked: asking.lastAsked(),
    };
    const evidence = [
      ...subscriptions.map(ofEnd),
      ...seen.map((session) => ofSession(session, subscriptions, alive)),
      // Last: what was found to be paid is served.
      ...subscriptions.filter(({ id }) => unserved.includes(id)).map(ofUnserved),
    ];
    const changed = standings.flatMap(
      ({ review }) => (review?.differs ? review.order.subscription : null) ?? [],
    );
    return { evidence, changed, after, sessions: seen.length, subscriptions: live.found.length };
  }

  /** Customers who dispute a payment, or got one back. */
  async function claimantsSince(since: number, now: number, gaps: string[]): Promise<Set<string | null>> {
    const listed = async (kind: "dispute" | "refund", createdSince: number) => {
      const { found, complete } = await answered(stripe.claims({ kind, createdSince, limit: mostListed }));
      if (!complete) gaps.push(`more than ${mostListed} ${kind}s: the oldest were not listed`);
      return found.map(({ customer }) => customer);
    };
    const disputing = await listed("dispute", Math.min(since, now - disputedMs));
    return new Set([...disputing, ...(await listed("refund", since))]);
  }

  async function listSessions(createdSince: number, gaps: string[]) {
    const complete = await answered(stripe.sessions({ status: "complete", createdSince, limit: mostListed }));
    // Only for orders that still wait; a shop's abandoned carts are many.
    const waits = store.orders({ states: ["awaiting-payment"], limit: 1 }).length > 0;
    const expired = waits
      ? await answered(stripe.sessions({ status: "expired", createdSince, limit: mostListed }))
      : { found: [], complete: true };
    const whole = complete.complete && expired.complete;
    if (!whole) gaps.push(`more than ${mostListed} sessions: the oldest were not listed`);
    return { found: [...complete.found, ...expired.found], complete: whole };
  }

  /** Sessions that no list shows any more and that may still be paid: made too long ago, or not cleared yet. */
  function unlistedSessions(memory: Memory, listed: ReadonlySet<string>, now: number): string[] {
    const waiting = store
      .orders({ states: ["awaiting-payment"], limit: all })
      .filter(({ createdAt }) => now - createdAt > sessionLifeMs && now - createdAt < clearingMs)
      .map(({ checkoutSession }) => checkoutSession);
    return [...waiting, ...Object.keys(memory.pending)].filter(
      (id): id is string => id !== null && !listed.has(id),
    );
  }

  function pendingAfter(memory: Memory, seen: readonly CheckoutSession[], now: number): Memory["pending"] {
    const pending = new Map(Object.entries(memory.pending));
    for (const session of seen) {
      const clears = session.status === "complete" && !isPaid(session);
      const named = store.orderBySession(session.id) !== null;
      if (!clears || named || isForeign(session, { instance })) pending.delete(session.id);
      else if (!pending.has(session.id)) pending.set(session.id, now);
    }
    return Object.fromEntries([...pending].filter(([, at]) => now - at < clearingMs));
  }

  /** @returns with the report whether nothing is left to be asked for soon */
  async function run(request: ReconcileRequest): Promise<{ report: StripeReport; isWhole: boolean }> {
    if (stopping.signal.aborted) throw new Stopped("the daemon stops");
    const before = remembered();
    const asking = createAsking({
      lastAsked: before.asked,
      settled,
      log,
      rethrow: (error) => error instanceof Stopped,
    });
    const now = clock.now();
    const usual = Math.max(before.seenUntil - sessionLifeMs, now - clearingMs);
    const since = request.sinceMs === undefined ? usual : now - request.sinceMs;
    const { evidence, changed, after, ...counts } = await look(before, since, asking);
    let facts = known(before);
    const candidates = evidence.filter(({ finding }) => finding(facts) !== null);
    if (candidates.length + changed.length > 0) await answered(clock.delay(onItsWayMs, stopping.signal));
    facts = known(before);
    const findings: StripeFinding[] = [];
    for (const { finding, repair } of candidates) {
      const found = finding(facts);
      const isServed = findings.some(({ kind, order }) => kind === "payment" && order === found?.order);
      if (!found || (found.kind === "unserved" && isServed)) continue;
      findings.push(found);
      if (request.dryRun) continue;
      repair(found);
      tell(found, request.actor);
      // Nobody looked at what it was paid for; it may be paused by now.
      if (found.kind === "payment") changed.push(...subscriptionsOf(found));
    }
    await asking.askForAll(changed, async (subscription) => {
      if (stopping.signal.aborted) throw new Stopped("the daemon stops");
      const review = await answered(desk.review(subscription, { dryRun: request.dryRun }));
      const found = standingFinding(review);
      if (!found || findings.some(({ kind, subject }) => kind === found.kind && subject === found.subject))
        return { review };
      findings.push(found);
      if (!request.dryRun) tell(found, request.actor);
      return { review };
    });
    if (!request.dryRun) {
      const seenUntil = since <= usual ? after.seenUntil : before.seenUntil;
      store.putSetting(memoryKey, JSON.stringify({ ...after, seenUntil } satisfies Memory));
      settled = asking.settled();
      asking.tell(store, request.actor);
    }
    const { gaps } = asking;
    if (gaps.length > 0) log.warn({ gaps }, "Stripe was not compared in full");
    return { report: { findings, since, gaps, ...counts }, isWhole: asking.isWhole() };
  }

  const subscriptionsOf = ({ order }: StripeFinding): string[] =>
    [store.order(order as OrderId)?.subscription ?? []].flat();

  /** After the repair. */
  function tell({ kind, subject, order, text }: StripeFinding, actor: string): void {
    if (kind === "unserved" || kind === "due") {
      log.warn({ subscription: subject, order }, text);
      return;
    }
    const why = `Stripe shows what no webhook told: ${text}`;
    store.audit(actor, "stripe.repaired", subject, { why, kind, order });
    log.warn({ kind, subject, order }, why);
    options.onRepair(kind);
  }

  /** One look at a time. */
  function inTurn(request: ReconcileRequest) {
    const turn = last.then(() => run(request));
    last = turn.catch(() => {});
    return turn.catch((error: unknown) => {
      // A list was refused: there is nothing to go on with.
      if (isRefusal(error) && !request.dryRun) tellRefusal(store, error);
      throw error;
    });
  }

  return {
    async runIfDue() {
      if (busy || clock.now() < dueAt) return didWell;
      busy = true;
      dueAt = clock.now() + everyMs;
      try {
        const { isWhole } = await inTurn({ dryRun: false, actor: "daemon" });
        didWell = isWhole;
        if (!isWhole) dueAt = clock.now() + againMs;
      } catch (error) {
        didWell = false;
        if (stopping.signal.aborted) return didWell;
        dueAt = clock.now() + againMs;
        log.warn({ err: error }, "Stripe could not be compared with the store; nothing is concluded");
      } finally {
        busy = false;
      }
      return didWell;
    },
    reconcile: async (request) => (await inTurn(request)).report,
    stop: () => stopping.abort(),
  };
}
