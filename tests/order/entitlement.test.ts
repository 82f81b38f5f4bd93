/** What each thing that Stripe can show of a subscription entitles to. */
import { strict as assert } from "node:assert";
import fc from "fast-check";
import { type Entitlement, entitlement, type SuspensionTerms } from "../../pool/order/entitlement.ts";
import type { Charge, Standing, Subscription } from "../../pool/stripe/stripe.ts";
import { charge, standing } from "../stripe/objects.ts";

const day = 86_400_000;
const now = Date.parse("2026-06-15T12:00:00Z");
const terms: SuspensionTerms = {
  overdueMs: 7 * day,
  neverPaidMs: 0,
  dispute: "suspend",
  lostDispute: "suspend",
  refund: "serve",
  keepMs: 30 * day,
  afterwards: "ask",
};

const judge = (
  shown: Standing | null,
  change: Partial<SuspensionTerms> = {},
  overdueSince: number | null = null,
) => entitlement(shown, { terms: { ...terms, ...change }, now, overdueSince });
const of = (change: Partial<Subscription>, charges?: readonly Charge[]) => judge(standing(change, charges));
const short = (verdict: Entitlement) => (verdict.do === "suspend" ? `suspend ${verdict.reason}` : verdict.do);
const disputed = (...statuses: string[]) => [
  charge({ disputes: statuses.map((status, index) => ({ id: `du_${index}`, status })) }),
];
const refunded = (amountRefunded: number) => charge({ amountRefunded });

describe("what a subscription entitles to", () => {
  const table: [string, Entitlement, string, string[]?][] = [
    ["active", of({}), "serve"],
    ["a trial, for which nothing was paid yet", of({ status: "trialing" }, []), "serve"],
    ["pause_collection", of({ collectionPaused: true }), "serve"],
    ["cancel_at_period_end", of({ endsAt: now + day }), "serve"],
    ["incomplete", of({ status: "incomplete" }, []), "nothing"],
    ["incomplete_expired", of({ status: "incomplete_expired", endedAt: now }, []), "end"],
    [
      "canceled, and so a deleted subscription or customer",
      of({ status: "canceled", endedAt: now }, []),
      "end",
    ],
    ["canceled, though a dispute is open", of({ status: "canceled" }, disputed("needs_response")), "end"],
    ["past_due", of({ status: "past_due" }), "serve"],
    ["unpaid", of({ status: "unpaid" }), "suspend unpaid"],
    ["paused", of({ status: "paused", pausedBecause: "pause_requested" }), "suspend paused"],
    ["a status of next year", of({ status: "hibernating" }), "nothing", ["stripe-status"]],
    ["no such subscription", judge(null), "nothing", ["stripe-status"]],
    [
      "a first debit that failed",
      of(
        { status: "past_due", latestInvoice: { id: "in_1", status: "open", reason: "subscription_create" } },
        [],
      ),
      "suspend never-paid",
    ],
    ["an inquiry", of({}, disputed("warning_needs_response")), "serve", ["dispute"]],
    ["an inquiry that is over", of({}, disputed("warning_closed")), "serve"],
    ["a dispute opened", of({}, disputed("needs_response")), "suspend disputed", ["dispute"]],
    ["a dispute under review", of({}, disputed("under_review")), "suspend disputed", ["dispute"]],
    ["a dispute appealed", of({}, disputed("appeal_under_review")), "suspend disputed", ["dispute"]],
    ["a dispute won", of({}, disputed("won")), "serve"],
    ["a dispute prevented", of({}, disputed("prevented")), "serve"],
    ["a dispute lost", of({}, disputed("lost")), "suspend dispute-lost", ["dispute"]],
    [
      "one lost and one open",
      of({}, disputed("lost", "needs_response")),
      "suspend disputed",
      ["dispute", "dispute"],
    ],
    [
      "a dispute of an older payment",
      of({}, [charge(), ...disputed("needs_response")]),
      "suspend disputed",
      ["dispute"],
    ],
    ["a dispute's status of next year", of({}, disputed("pondered")), "serve", ["dispute"]],
    ["a full refund", of({}, [refunded(900)]), "serve", ["refund"]],
    ["a partial refund", of({}, [refunded(899)]), "serve"],
    ["a full refund of an older payment", of({}, [charge(), refunded(900)]), "serve"],
    ["a free payment", of({}, [charge({ amount: 0 })]), "serve"],
    [
      "a failed payment, disputed before",
      of({ status: "past_due" }, disputed("lost")),
      "suspend dispute-lost",
      ["dispute"],
    ],
  ];
  for (const [what, verdict, wanted, notices = []] of table) {
    it(`${what}: ${wanted}`, () => {
      assert.equal(short(verdict), wanted);
      assert.deepEqual(
        verdict.notices.map(({ kind }) => kind),
        notices,
      );
    });
  }

  it("says why in words", () => {
    const text = (verdict: Entitlement) => ("text" in verdict ? verdict.text : assert.fail());
    assert.equal(
      text(of({ status: "paused", pausedBecause: "final_payment_failure" })),
      "the subscription is paused (final payment failure)",
    );
    assert.equal(
      text(of({ status: "canceled", cancelReason: "payment_failed" })),
      "subscription ended: payment_failed",
    );
  });

  it("serves on while a renewal is overdue, counts from when it was first seen so, and suspends then", () => {
    const overdue = standing({ status: "past_due" });
    const first = judge(overdue);
    assert.deepEqual([first.do, first.overdueSince], ["serve", now]);
    assert.equal(first.do === "serve" && first.suspendsAt, now + 7 * day);
    assert.equal(short(judge(overdue, {}, now - 7 * day + 1)), "serve");
    const late = judge(overdue, {}, now - 7 * day);
    assert.deepEqual([short(late), late.overdueSince], ["suspend past-due", now - 7 * day]);
    assert.equal(judge(standing(), {}, now - day).overdueSince, null, "paid: the next one counts anew");
    assert.equal(judge(standing({ status: "unpaid" }), {}, now - day).overdueSince, now - day);
    assert.equal(short(judge(standing({ status: "past_due" }), { overdueMs: 0 })), "suspend past-due");
  });

  it("does by policy", () => {
    const serve = { dispute: "serve", lostDispute: "serve" } as const;
    for (const status of ["needs_response", "lost"]) {
      const verdict = judge(standing({}, disputed(status)), serve);
      assert.equal(verdict.do, "serve");
      assert.equal(verdict.notices.length, 1, "a person is told all the same");
    }
    assert.equal(short(judge(standing({}, [refunded(900)]), { refund: "suspend" })), "suspend refunded");
    assert.equal(short(judge(standing({}, [refunded(450)]), { refund: "suspend" })), "serve");
    const first = { id: "in_1", status: "open", reason: "subscription_create" };
    const unpaid = standing({ status: "past_due", latestInvoice: first }, []);
    assert.equal(short(judge(unpaid, { neverPaidMs: day }, now - day + 1)), "serve");
    assert.equal(short(judge(unpaid, { neverPaidMs: day }, now - day)), "suspend never-paid");
  });

  it("ends nothing but what Stripe shows as ended, whatever else it shows and whatever the policy", () => {
    const status = fc.oneof(
      fc.constantFrom(
        "active",
        "trialing",
        "past_due",
        "unpaid",
        "paused",
        "incomplete",
        "canceled",
        "incomplete_expired",
      ),
      fc.string(),
    );
    const dispute = fc.record({
      id: fc.string(),
      status: fc.constantFrom("lost", "needs_response", "won", "warning_closed"),
    });
    const paid = fc.record({
      amount: fc.nat(),
      amountRefunded: fc.nat(),
      disputes: fc.array(dispute, { maxLength: 2 }),
    });
    const policy = fc.constantFrom("suspend" as const, "serve" as const);
    fc.assert(
      fc.property(
        status,
        fc.array(paid, { maxLength: 3 }),
        fc.record({
          overdueMs: fc.nat(),
          neverPaidMs: fc.nat(),
          dispute: policy,
          lostDispute: policy,
          refund: policy,
        }),
        fc.option(fc.nat()),
        (shown, charges, change, overdueSince) => {
          const verdict = judge(standing({ status: shown }, charges.map(charge)), change, overdueSince);
          assert.equal(verdict.do === "end", shown === "canceled" || shown === "incomplete_expired");
        },
      ),
    );
  });
});
