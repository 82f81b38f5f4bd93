/** How many warm machines a pool wants and why, for operators: `GET /v1/pools/{name}/plan`. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import type { PoolPlan } from "../pool/sizing/explain.ts";
import { chosenText } from "../pool/sizing/policy/chosen.ts";
import { operatorOf } from "./auth.ts";
import { notFound } from "./problem.ts";

/** Of the named pool, or of all; empty when there is no such pool. */
export type Plans = (pool: string | null) => PoolPlan[];

export function planRoutes({ plans }: { readonly plans: Plans }): Middleware {
  const router = new Router();
  router.get("/v1/pools/:name/plan", (context) => {
    operatorOf(context);
    const [plan] = plans(context.params.name ?? "");
    if (!plan) throw notFound();
    context.body = viewPlan(plan);
  });
  return router.routes() as Middleware;
}

const seconds = (ms: number): number => Math.round(ms / 1_000);

function viewPlan(plan: PoolPlan) {
  const { lead, wanted, measured, price, promise, choice, openCheckouts: open } = plan;
  const spread = ({ p50, p90, builds }: { p50: number; p90: number; builds: number }) => ({
    ...{ p50_seconds: seconds(p50), p90_seconds: seconds(p90), builds },
  });
  return {
    ...{ pool: plan.pool, policy: plan.policy, target: plan.target, keep: plan.keep },
    ...{ ready: plan.ready, building: plan.building, not_begun: plan.notBegun, waiting: plan.waiting },
    asked: wanted.asked,
    bound: wanted.bound,
    campaigns: wanted.campaigns,
    cut: plan.share.cutBy && { by: plan.share.cutBy, wanted: wanted.target, gets: plan.share.machines },
    lead_time: {
      planned_with_seconds: seconds(lead.planMs),
      measured: lead.measured && spread(lead.measured),
      by_location: Object.fromEntries(
        Object.entries(lead.byLocation).map(([location, each]) => [location, spread(each)]),
      ),
    },
    open_checkouts: open,
    rate_per_hour: plan.ratePerHour,
    season: plan.season,
    expected_in_lead_time: plan.expectedInLead,
    chance_of_more: plan.chanceOfMore,
    one_more: { claims_per_day: plan.next.claimsPerDay, idle_cost_per_day: plan.next.idlePerDay },
    price: price.known
      ? { currency: price.currency, hourly: price.hourly, month: price.month }
      : { unknown: price.reason },
    hit_share: {
      ...{ claims: measured.claims, hits: measured.hits, share: measured.share },
      ...{ at_least: measured.atLeast, at_most: measured.atMost, confidence: 0.95, weeks: 12 },
    },
    promise: promise && {
      ...{ asked: promise.asked, kept: promise.kept, missed: promise.missed },
      claims_needed: promise.claimsNeeded,
    },
    choice: choice && {
      ...{ chosen_at: new Date(choice.at).toISOString(), policy: choice.policy && chosenText(choice.policy) },
      ...{ claims: choice.claims, at_least: choice.atLeast, confidence: 0.95, why: choice.why },
    },
    why: plan.words,
  };
}
