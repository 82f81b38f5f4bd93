import { strict as assert } from "node:assert";
import { inspect } from "node:util";
import fc from "fast-check";
import { ConfigError, loadConfig, parseConfig } from "../../pool/config/load.ts";
import { jsonSchema } from "../../pool/config/shape.ts";
import { env, example } from "./example.ts";

const parse = (text: string, from: NodeJS.ProcessEnv = env) => parseConfig(text, "clawpool.yaml", from);

const problemsOf = (text: string, from: NodeJS.ProcessEnv = env): readonly string[] => {
  try {
    parse(text, from);
  } catch (error) {
    assert(error instanceof ConfigError, String(error));
    return error.problems;
  }
  return [];
};

/** What a `sizing` section may have wrong, as it stands in the file, and what is said of it. */
const sizings: readonly (readonly [string, string, RegExp])[] = [
  [
    "an unknown key of the sizing",
    "{ polcy: adaptive }",
    /line 12, column 15: .*sizing\.polcy: unknown key; did you mean policy\?/,
  ],
  ["an unknown policy", "{ policy: magic }", /sizing\.policy: .*"static"\|"schedule"\|"factor"\|"adaptive"/],
  [
    "a key of another policy",
    "{ policy: factor, scale: 1, ready: 4 }",
    /sizing\.ready: belongs to policy static; this pool's is factor/,
  ],
  ["fewer machines than the floor", "{ ready: 2 }", /sizing\.ready: less than min_ready 3/],
  [
    "more machines than there may be",
    "{ ready: 11 }",
    /sizing\.ready: 11 warm machines are more than max_ready allows, 10/,
  ],
  ["a schedule without windows", "{ policy: schedule }", /sizing\.policy: schedule wants windows/],
  [
    "a pattern that is none",
    '{ policy: schedule, windows: [{ cron: "0 25 * * *", for: 1h, ready: 4 }] }',
    /sizing\.windows\.0\.cron: .*25; want five fields of cron/,
  ],
  [
    "a window that never opens",
    '{ policy: schedule, windows: [{ cron: "0 8 31 2 *", for: 1h, ready: 4 }] }',
    /line 12, column \d+: .*windows\.0\.cron: "0 8 31 2 \*" never comes/,
  ],
  [
    "a window of a month",
    '{ floors: [{ cron: "0 8 * * *", for: 30d, ready: 4 }] }',
    /sizing\.floors\.0\.for: want between 1m and 7d/,
  ],
  [
    "a floor beyond the ceiling",
    '{ floors: [{ cron: "0 8 * * *", for: 1h, ready: 40 }] }',
    /sizing\.floors\.0\.ready: 40 warm machines are more than max_ready allows, 10/,
  ],
  [
    "an unknown time zone",
    "{ time_zone: Europe/Berln }",
    /sizing\.time_zone: there is no time zone Europe\/Berln; want one such as Europe\/Berlin/,
  ],
  ["a factor without its scale", "{ policy: factor }", /sizing\.policy: factor wants scale/],
  ["an adaptive pool without its price", "{ policy: adaptive }", /sizing\.policy: adaptive wants value_of_a/],
  [
    "a value and a target at once",
    "{ policy: adaptive, value_of_a_warm_claim: 1, target_hit_share: 0.99 }",
    /sizing\.target_hit_share: contradicts value_of_a_warm_claim/,
  ],
  [
    "a target of all claims",
    "{ policy: adaptive, target_hit_share: 1 }",
    /sizing\.target_hit_share: .*0\.9999/,
  ],
  [
    "a campaign that ends before it begins",
    "{ campaigns: [{ name: a, from: 2026-12-02T08:00:00Z, until: 2026-12-01T08:00:00Z, add: 1 }] }",
    /sizing\.campaigns\.0\.until: the campaign ends before it begins/,
  ],
  [
    "a campaign whose time has no zone",
    "{ campaigns: [{ name: a, from: 2026-12-01T08:00:00, until: 2026-12-02T08:00:00Z, add: 1 }] }",
    /sizing\.campaigns\.0\.from: want a time such as 2026-12-01T08:00:00Z/,
  ],
];

describe("clawpool.yaml", () => {
  it("resolves regions to locations, durations to milliseconds and secrets to their text", () => {
    const config = parse(example);
    assert.deepEqual(config.pools[0]?.locations, ["fsn1", "nbg1", "hel1"]);
    assert.equal(config.pools[0]?.maxAgeMs, 14 * 86_400_000);
    assert.equal(config.deadlines.creatingMs, 600_000);
    assert.deepEqual(config.sweeps, {
      everyMs: 30_000,
      orphanGraceMs: 900_000,
      deletesPerHour: 5,
      vanishShare: 0.2,
    });
    assert.deepEqual(config.pools[0]?.failureBudget, {
      run: 5,
      share: 0.5,
      atLeast: 10,
      windowMs: 3_600_000,
      firstPauseMs: 10_000,
      longestPauseMs: 600_000,
      longestOrderPauseMs: 60_000,
      buildsPerOrder: 5,
      keepSpecimenMs: 86_400_000,
      alertShare: 0.1,
      alertAtLeast: 5,
    });
    assert.equal(config.hetzner.token.expose(), env.HCLOUD);
    assert(!inspect(config, { depth: 9 }).includes(env.STRIPE_KEY));
  });

  const cases: readonly [what: string, change: (text: string) => string, expected: RegExp][] = [
    [
      "an unknown key, with its nearest",
      (t) => t.replace("min_ready", "min_raedy"),
      /line 11, column 5: .*min_raedy: unknown key; did you mean min_ready\?/,
    ],
    [
      "an unknown key with no near one",
      (t) => `${t}\nzzzzzzzz: 1`,
      /zzzzzzzz: unknown key; known: instance, state_dir/,
    ],
    ["a missing key", (t) => t.replace(/^instance.*$/m, ""), /^instance: is missing; want a string$/],
    [
      "a wrong type",
      (t) => t.replace("min_ready: 3", "min_ready: three"),
      /line 11, column 5: pools\.small-eu\.min_ready: .*number/,
    ],
    [
      "a number out of range",
      (t) => t.replace("min_ready: 3", "min_ready: -1"),
      /pools\.small-eu\.min_ready: /,
    ],
    [
      "a pool that can never be full",
      (t) => t.replace("min_ready: 3", "min_ready: 11"),
      /min_ready: 11 warm machines can never fit into max_total 10/,
    ],
    [
      "a pool larger than all pools",
      (t) => t.replace("max_total: 10", "max_total: 30"),
      /30 is more than max_total 20/,
    ],
    ["an unknown plan", (t) => t.replace("plan: small", "plan: big"), /there is no plan big; known: small/],
    [
      "an unknown region",
      (t) => t.replace("[eu-central]", "[eu-centarl]"),
      /there is no region eu-centarl; known: eu-central/,
    ],
    ["a duration without a unit", (t) => `${t}\nrelease_grace: "5"`, /release_grace: want a duration/],
    [
      "a secret written into the file",
      (t) => t.replace("{ env: STRIPE_KEY }", "sk_live_123"),
      /stripe\.key: /,
    ],
    [
      "a secret's variable that is not set",
      (t) => t.replace("env: STRIPE_KEY", "env: NOT_SET"),
      /stripe\.key: environment variable NOT_SET is not set/,
    ],
    [
      "a secret's file that is not there",
      (t) => t.replace("{ env: STRIPE_KEY }", "{ file: nowhere }"),
      /stripe\.key: the secret cannot be read/,
    ],
    [
      "a pause that grows smaller",
      (t) =>
        t.replace("min_ready: 3", "min_ready: 3\n    failure_budget: { first_pause: 2m, longest_pause: 1m }"),
      /line 12, column \d+: pools\.small-eu\.failure_budget\.longest_pause: shorter than first_pause/,
    ],
    [
      "orders that wait longer than the refill",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    failure_budget: { longest_order_pause: 1h }"),
      /failure_budget\.longest_order_pause: orders would wait longer than the refill/,
    ],
    [
      "builds without a pause",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    failure_budget: { first_pause: 0s }"),
      /failure_budget\.first_pause: a pause shorter than 1s/,
    ],
    [
      "a share of failures beyond all",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    failure_budget: { share: 1.5 }"),
      /pools\.small-eu\.failure_budget\.share: /,
    ],
    [
      "an unknown key of the failure budget",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    failure_budget: { runs: 3 }"),
      /failure_budget\.runs: unknown key; did you mean run\?/,
    ],
    [
      "a grace in which machines are still being made",
      (t) => `${t}\nsweeps: { orphan_grace: 5m }\n`,
      /sweeps\.orphan_grace: shorter than deadlines\.creating/,
    ],
    [
      "looks without a pause",
      (t) => `${t}\nsweeps: { every: 1s }\n`,
      /sweeps\.every: looks more often than every 5s/,
    ],
    [
      "more machines kept than max_ready",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    max_ready: 2"),
      /line 11, column 5: pools\.small-eu\.min_ready: 3 is more than max_ready 2/,
    ],
    [
      "more ready machines than max_total",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    max_ready: 11"),
      /line 12, column 5: pools\.small-eu\.max_ready: 11 warm machines can never fit into max_total 10/,
    ],
    ...sizings.map(([what, sizing, expected]): [string, (text: string) => string, RegExp] => [
      what,
      (t) => t.replace("min_ready: 3", `min_ready: 3\n    sizing: ${sizing}`),
      expected,
    ]),
    ["a spend of nothing", (t) => `${t}\nmax_spend_per_day: 0`, /max_spend_per_day: .*>0/],
    [
      "a misspelt key in a list, with its nearest",
      (t) =>
        t.replace(
          "min_ready: 3",
          "min_ready: 3\n    sizing: { policy: schedule, windows: [{ cronn: '0 8 * * *', for: 1h, ready: 1 }] }",
        ),
      /line 12, column \d+: pools\.small-eu\.sizing\.windows\.0\.cronn: unknown key; did you mean cron\?/,
    ],
    [
      "a misspelt time zone, with its nearest",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    sizing: { time_zone: Europe/Berln }"),
      /sizing\.time_zone: there is no time zone Europe\/Berln; want one such as Europe\/Berlin/,
    ],
    [
      "a secret whose place is misspelt",
      (t) => t.replace("{ env: STRIPE_KEY }", "{ fil: stripe.key }"),
      /line \d+, column \d+: stripe\.key: want \{file: PATH\} or \{env: NAME\}, never the secret itself/,
    ],
    [
      "a pool's name with capitals",
      (t) => t.replace("small-eu:", "Small:"),
      /line 7, column 3: pools\.Small: want a lower-case letter/,
    ],
    ["a network that is none", (t) => t.replace("203.0.113.7/32", "203.0.113.7"), /want a CIDR/],
    [
      "an instance name with a shell in it",
      (t) => t.replace("instance: test", "instance: $(reboot)"),
      /instance: want a lower-case letter/,
    ],
    [
      "an instance name with terraform in it",
      (t) => t.replace("instance: test", 'instance: "$\\u007bfile}"'),
      /instance: want a lower-case letter/,
    ],
    [
      "an image that is not text",
      (t) => t.replace("min_ready: 3", "min_ready: 3\n    image: [a]"),
      /image: /,
    ],
    ["a key that stands twice", (t) => `${t}\ninstance: other`, /unique/i],
    ["broken YAML", (t) => `${t}\n  : [`, /line \d+/],
    ["an empty file", () => "", /instance/],
    ["a list instead of a map", () => "[1, 2]", /the file: /],
  ];
  for (const [what, change, expected] of cases) {
    it(`refuses ${what}`, () => {
      const problems = problemsOf(change(example));
      assert(
        problems.some((problem) => expected.test(problem)),
        `want ${expected}, got ${JSON.stringify(problems)}`,
      );
    });
  }

  it("resolves how a pool is sized", () => {
    const sizingOf = (sizing: string) =>
      parse(example.replace("min_ready: 3", `min_ready: 3\n    sizing: ${sizing}`)).pools[0]?.sizing;
    const common = { timeZone: "UTC", campaigns: [], floors: [] };
    assert.deepEqual(parse(example).pools[0]?.sizing, { ...common, policy: "static", ready: null });
    assert.deepEqual(
      sizingOf(
        '{ policy: schedule, time_zone: Europe/Berlin, windows: [{ cron: "0 8 * * 1-5", for: 10h, ready: 6 }] }',
      ),
      {
        ...{ ...common, policy: "schedule", timeZone: "Europe/Berlin" },
        windows: [{ cron: "0 8 * * 1-5", lengthMs: 36_000_000, ready: 6 }],
      },
    );
    assert.deepEqual(sizingOf("{ policy: factor, scale: 0.5, at_most: 6 }"), {
      ...{ ...common, policy: "factor", scale: 0.5, overMs: 3_600_000, atMost: 6 },
    });
    assert.deepEqual(
      sizingOf(
        "{ policy: adaptive, value_of_a_warm_claim: 1.5, hold: 1h, campaigns: [{ name: launch, from: 2026-12-01T09:00:00+01:00, until: 2026-12-02T08:00:00Z, add: 4 }] }",
      ),
      {
        ...{ ...common, policy: "adaptive", goal: { valueEur: 1.5 }, holdMs: 3_600_000 },
        campaigns: [
          { name: "launch", from: Date.UTC(2026, 11, 1, 8), until: Date.UTC(2026, 11, 2, 8), add: 4 },
        ],
      },
    );
  });

  it("says everything that is wrong at once", () => {
    const text = example.replace("min_ready: 3", "min_ready: 11").replace("env: STRIPE_KEY", "env: NOT_SET");
    assert.equal(problemsOf(text).length, 2);
  });

  it("refuses a Hetzner token that terraform's provider would refuse", () => {
    assert.match(problemsOf(example, { ...env, HCLOUD: "short" })[0] ?? "", /64 characters, this one 5/);
  });

  it("refuses an alias without its anchor, and aliases that grow without bound", () => {
    assert.match(problemsOf("instance: *none")[0] ?? "", /Unresolved alias.*none/);
    const doubling = Array.from({ length: 30 }, (_, n) => `k${n + 1}: &a${n + 1} [*a${n}, *a${n}]`);
    assert.match(problemsOf(["k0: &a0 [x, x]", ...doubling].join("\n"))[0] ?? "", /Excessive alias count/);
  });

  it("answers any text with a Config or a ConfigError, never another error", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((text) => example + text),
        ),
        (text) => {
          problemsOf(text);
        },
      ),
    );
  });

  it("names a file that is not there and the command that makes one", () => {
    assert.throws(() => loadConfig("/nowhere/clawpool.yaml", env), /cannot be read.*clawpool init/s);
  });

  it("publishes a JSON Schema that has every key", () => {
    const schema = jsonSchema() as { properties: Record<string, unknown> };
    assert(Object.keys(schema.properties).includes("pools"));
  });
});
