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
    ["a missing key", (t) => t.replace(/^instance.*$/m, ""), /instance: /],
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
