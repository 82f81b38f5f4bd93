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
/** After a look that failed. */
const againMs = minute;
/** A session is open for 24 hours at most (Stripe's API reference, `expires_at`), so what ended since was made since. */
const sessionLifeMs = 25 * hour;
/** Debits and transfers take two weeks at most; after that nobody asks for a session any more. */
const clearingMs = 30 * day;
/** A webhook that is on its way gets this long before it counts as lost. */
const onItsWayMs = 15 * second;
/** Objects of one list, so 100 calls at most. */
const mostListed = 10_000;
/** Calls for single objects of a kind in one look; those that are left come next. One at a time: far below 100 a second. */
const mostAsked = 200;
/** Failures in a row after which no more is asked. */
const mostFailures = 3;
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
   * A look and its repairs, when one is due. Never throws: what failed is logged and due again in a minute.
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
  let didWell = false;

  async function answered<T>(call: Promise<T>): Promise<T> {
    const answer = await call;
    if (stopping.signal.aborted) throw new Stopped("the daemon stops");
    return answer;
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

  /** Asks for each id in turn, from behind `after` on and around; what fails is left for the next look. */
  async function askFor<T>(
    ids: readonly string[],
    after: string,
    fetch: (id: string) => Promise<T | null>,
    gaps: string[],
  ): Promise<{ found: T[]; last: string }> {
    const sorted = [...new Set(ids)].sort();
    const turn = [...sorted.filter((id) => id > after), ...sorted.filter((id) => id <= after)];
    const asked = turn.slice(0, mostAsked);
    if (asked.length < turn.length)
      gaps.push(`${turn.length - asked.length} objects are asked for next time`);
    const found: T[] = [];
    let failures = 0;
    let position = after;
    for (const id of asked) {
      try {
        const object = await answered(fetch(id));
        failures = 0;
        if (object === null)
          log.warn({ object: id }, "Stripe does not have this object; nothing is concluded");
        else found.push(object);
      } catch (error) {
        if (error instanceof Stopped) throw error;
        log.warn({ object: id, err: error }, "Stripe could not be asked for an object; nothing is concluded");
        gaps.push(`${id} could not be asked for`);
        if (++failures === mostFailures) break;
      }
      position = id;
    }
    return { found, last: position };
  }

  async function look(before: Memory, since: number) {
    const startedAt = clock.now();
    const gaps: string[] = [];
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
    const asked = await askFor(
      [...unlistedSessions(before, listed, startedAt), ...collected],
      before.asked.session,
      stripe.fetchSession,
      gaps,
    );
    const fetched = new Set(asked.found.map(({ id }) => id));
    const seen = [...sessions.found.filter(({ id }) => !fetched.has(id)), ...asked.found];
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
    const { found: subscriptions, last } = await askFor(
      [...unlisted, ...unserved],
      before.asked.subscription,
      stripe.fetchSubscription,
      gaps,
    );
    const claimants = await claimantsSince(since, startedAt, gaps);
    const standings = await askFor(
      suspects(bound, live.found, claimants),
      before.asked.standing,
      async (id) => ({ review: await desk.review(id, { dryRun: true }) }),
      gaps,
    );
    const after: Memory = {
      since: before.since,
      seenUntil: sessions.complete ? Math.max(before.seenUntil, startedAt) : before.seenUntil,
      pending: pendingAfter(before, seen, startedAt),
      asked: { session: asked.last, subscription: last, standing: standings.last },
    };
    const evidence = [
      ...subscriptions.map(ofEnd),
      ...seen.map((session) => ofSession(session, subscriptions, alive)),
      // Last: what was found to be paid is served.
      ...subscriptions.filter(({ id }) => unserved.includes(id)).map(ofUnserved),
    ];
    const changed = standings.found.flatMap(
      ({ review }) => (review?.differs ? review.order.subscription : null) ?? [],
    );
    return { evidence, changed, after, gaps, sessions: seen.length, subscriptions: live.found.length };
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

  async function run(request: ReconcileRequest): Promise<StripeReport> {
    if (stopping.signal.aborted) throw new Stopped("the daemon stops");
    const before = remembered();
    const now = clock.now();
    const usual = Math.max(before.seenUntil - sessionLifeMs, now - clearingMs);
    const since = request.sinceMs === undefined ? usual : now - request.sinceMs;
    const { evidence, changed, after, gaps, ...counts } = await look(before, since);
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
    for (const subscription of changed) {
      if (stopping.signal.aborted) throw new Stopped("the daemon stops");
      const found = standingFinding(await answered(desk.review(subscription, { dryRun: request.dryRun })));
      if (!found || findings.some(({ kind, subject }) => kind === found.kind && subject === found.subject))
        continue;
      findings.push(found);
      if (!request.dryRun) tell(found, request.actor);
    }
    if (!request.dryRun) {
      const seenUntil = since <= usual ? after.seenUntil : before.seenUntil;
      store.putSetting(memoryKey, JSON.stringify({ ...after, seenUntil } satisfies Memory));
    }
    if (gaps.length > 0) log.warn({ gaps }, "Stripe was not compared in full");
    return { findings, since, gaps, ...counts };
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
  function inTurn(request: ReconcileRequest): Promise<StripeReport> {
    const turn = last.then(() => run(request));
    last = turn.catch(() => {});
    return turn;
  }

  return {
    async runIfDue() {
      if (busy || clock.now() < dueAt) return didWell;
      busy = true;
      dueAt = clock.now() + everyMs;
      try {
        await inTurn({ dryRun: false, actor: "daemon" });
        didWell = true;
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
    reconcile: inTurn,
    stop: () => stopping.abort(),
  };
}
