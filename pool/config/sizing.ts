/** The `sizing` section of a pool: how many warm machines it wants. Its keys, and what of them contradicts itself. */
import { Cron } from "croner";
import { z } from "zod";
import type { Campaign, SizingConfig, SizingWindow } from "./config.ts";
import { duration, units } from "./duration.ts";
import { nearestTo } from "./nearest.ts";

const moment = z.iso
  .datetime({ offset: true, error: "want a time such as 2026-12-01T08:00:00Z or 2026-12-01T09:00:00+01:00" })
  .transform((text) => Date.parse(text));
const machines = z.int().min(0).max(1_000);

const window = z.strictObject({
  cron: z.string().describe("when it opens: five fields of cron, in `time_zone`"),
  for: duration.describe("how long it is open"),
  ready: machines,
});

const campaign = z.strictObject({
  name: z.string().min(1).max(60),
  from: moment,
  until: moment,
  add: z.int().min(1).max(1_000).describe("machines on top of what the policy wants"),
});

/** One flat object, so that a key of another policy is told as such and a misspelt one has its nearest. */
export const sizingShape = z
  .strictObject({
    policy: z
      .enum(["static", "schedule", "factor", "adaptive"])
      .default("static")
      .describe("how the number of warm machines is found"),
    ready: machines.optional().describe("static: so many; default: min_ready"),
    windows: z.array(window).min(1).max(50).optional().describe("schedule: so many while a window is open"),
    scale: z.number().gt(0).max(100).optional().describe("factor: machines for each claim within `over`"),
    over: duration.optional().describe("factor: the claims of so long are counted; default 1h"),
    at_most: machines.optional().describe("factor: never more than this; default: max_ready"),
    value_of_a_warm_claim: z
      .number()
      .gt(0)
      .max(10_000)
      .optional()
      .describe("adaptive: what it is worth, in EUR, that a customer finds a machine ready"),
    target_hit_share: z
      .number()
      .min(0.5)
      .max(0.9999)
      .optional()
      .describe("adaptive, instead: this share of claims is to find a machine ready"),
    hold: duration.optional().describe("adaptive: a surplus is kept so long; default 0s"),
    time_zone: z
      .string()
      .default("UTC")
      .describe("of windows and floors, and of the week that adaptive learns; an IANA name"),
    campaigns: z.array(campaign).max(50).default([]).describe("every policy: machines on top, for a while"),
    floors: z
      .array(window)
      .max(50)
      .default([])
      .describe("every policy: at least so many while a window is open"),
  })
  .describe("how many warm machines the pool wants, between min_ready and max_ready");

type SizingFile = z.output<typeof sizingShape>;
type Policy = SizingFile["policy"];
type Wrong = (path: readonly PropertyKey[], text: string) => void;

/** Keys that only one policy has. */
const keysOf: Readonly<Record<Policy, readonly (keyof SizingFile)[]>> = {
  static: ["ready"],
  schedule: ["windows"],
  factor: ["scale", "over", "at_most"],
  adaptive: ["value_of_a_warm_claim", "target_hit_share", "hold"],
};

/** What opens for longer is a campaign, or no window at all. */
const longestWindowMs = 7 * units.d;

/** @param bounds the pool's `min_ready` and `max_ready`. Contradictions are reported through `wrong`. */
export function resolveSizing(
  file: SizingFile,
  bounds: { readonly least: number; readonly most: number },
  wrong: Wrong,
): SizingConfig {
  for (const [policy, keys] of Object.entries(keysOf)) {
    if (policy === file.policy) continue;
    for (const key of keys) {
      if (file[key] !== undefined) {
        wrong([key], `belongs to policy ${policy}; this pool's is ${file.policy}`);
      }
    }
  }
  const zoned = isTimeZone(file.time_zone);
  if (!zoned) {
    const nearest = nearestTo(file.time_zone, Intl.supportedValuesOf("timeZone")) ?? "Europe/Berlin";
    wrong(["time_zone"], `there is no time zone ${file.time_zone}; want one such as ${nearest}`);
  }
  const timeZone = zoned ? file.time_zone : "UTC";
  const windows = (key: "windows" | "floors", given: SizingFile["floors"]): SizingWindow[] =>
    given.map((each, index) => {
      checkWindow(each, timeZone, (field, text) => wrong([key, index, field], text));
      tooMany(each.ready, bounds.most, (text) => wrong([key, index, "ready"], text));
      return { cron: each.cron, lengthMs: each.for, ready: each.ready };
    });
  const campaigns = file.campaigns.map((each, index): Campaign => {
    if (each.until <= each.from) wrong(["campaigns", index, "until"], "the campaign ends before it begins");
    if (file.campaigns.findIndex(({ name }) => name === each.name) < index) {
      wrong(["campaigns", index, "name"], `another campaign is called ${each.name}, too`);
    }
    return each;
  });
  const common = { timeZone, campaigns, floors: windows("floors", file.floors) };
  switch (file.policy) {
    case "static": {
      const ready = file.ready ?? null;
      if (ready !== null && ready < bounds.least) wrong(["ready"], `less than min_ready ${bounds.least}`);
      if (ready !== null) tooMany(ready, bounds.most, (text) => wrong(["ready"], text));
      return { ...common, policy: "static", ready };
    }
    case "schedule":
      if (!file.windows) wrong(["policy"], "schedule wants windows: [{ cron, for, ready }]");
      return { ...common, policy: "schedule", windows: windows("windows", file.windows ?? []) };
    case "factor": {
      const { scale, over = units.h, at_most: atMost = null } = file;
      if (scale === undefined)
        wrong(["policy"], "factor wants scale: machines for each claim of the last hour");
      if (over < units.m || over > 7 * units.d) wrong(["over"], "want between 1m and 7d");
      return { ...common, policy: "factor", scale: scale ?? 1, overMs: over, atMost };
    }
    case "adaptive":
      return { ...common, policy: "adaptive", ...resolveAdaptive(file, wrong) };
  }
}

function resolveAdaptive(
  { value_of_a_warm_claim: value, target_hit_share: share, hold: holdMs = 0 }: SizingFile,
  wrong: Wrong,
): Pick<Extract<SizingConfig, { policy: "adaptive" }>, "goal" | "holdMs"> {
  if (value !== undefined && share !== undefined) {
    wrong(["target_hit_share"], "contradicts value_of_a_warm_claim: give one of them");
  }
  if (holdMs > 7 * units.d) wrong(["hold"], "want 7d at most");
  if (value !== undefined) return { goal: { valueEur: value }, holdMs };
  if (share === undefined) {
    wrong(["policy"], "adaptive wants value_of_a_warm_claim (EUR), or instead target_hit_share such as 0.99");
  }
  return { goal: { hitShare: share ?? 0.99 }, holdMs };
}

function checkWindow(
  window: { readonly cron: string; readonly for: number },
  timeZone: string,
  wrong: (field: "cron" | "for", text: string) => void,
): void {
  if (window.for < units.m || window.for > longestWindowMs) {
    wrong("for", "want between 1m and 7d; what lasts longer is a campaign");
  }
  try {
    // From a fixed day, so that what is usable does not hang on when it is read; 29 February comes in any 8 years.
    const opens = new Cron(window.cron, { timezone: timeZone, mode: "5-part" }).nextRun(new Date(0));
    if (opens === null) wrong("cron", `"${window.cron}" never comes: there is no such day`);
  } catch (error) {
    wrong("cron", `${(error as Error).message}; want five fields of cron such as "0 8 * * 1-5"`);
  }
}

function tooMany(ready: number, most: number, wrong: (text: string) => void): void {
  if (ready > most) wrong(`${ready} warm machines are more than max_ready allows, ${most}`);
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: name }) !== null;
  } catch {
    return false;
  }
}
