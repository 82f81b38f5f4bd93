import { strict as assert } from "node:assert";
import fc from "fast-check";
import { encodeFrame } from "../../pool/machine/protocol.ts";
import { environmentLimits, readEnvironment } from "../../pool/order/environment.ts";
import { OrderRequestError, readOrderRequest } from "../../pool/order/request.ts";
import { injections, isOneLine } from "./injections.ts";
import { orderBody } from "./rig.ts";

const offered = {
  plans: [
    { name: "small", price: "price_small" },
    { name: "large", price: "price_large" },
  ],
  regions: { "eu-central": ["fsn1"], "us-east": ["ash"] },
  pools: [
    { plan: "small", locations: ["fsn1", "ash"] },
    { plan: "large", locations: ["fsn1", "ash"] },
  ],
};
const canary = "sk-canary-4711";

function problems(body: unknown) {
  try {
    readOrderRequest(body, offered);
  } catch (error) {
    assert(error instanceof OrderRequestError, String(error));
    assert.equal(error.kind, "invalid");
    for (const { detail, remedy } of error.problems)
      assert(detail !== "" && remedy !== "" && remedy !== "undefined");
    assert(!JSON.stringify(error.problems).includes(canary), "a value was repeated");
    return error.problems;
  }
  return [];
}
const fields = (body: unknown) => [...new Set(problems(body).map(({ field }) => field))];

describe("readOrderRequest", () => {
  it("takes the smallest and the fullest request", () => {
    const { env: _, ...least } = orderBody();
    assert.deepEqual(readOrderRequest(least, offered), {
      customer: "customer-1",
      plan: offered.plans[0],
      region: "eu-central",
      agentName: "Claw",
      env: {},
      model: null,
      checkout: { by: "us" },
    });
    const full = readOrderRequest(
      {
        customer: "auth0|5f7c8ec7c33c6c004bbafe82",
        plan: "large",
        region: "us-east",
        agent_name: "Zoë's Helfer 2".replace("'", ""),
        env: { CLAW_MODEL_API_KEY: "sk", TELEGRAM_BOT_TOKEN: "1:x", EMPTY: "" },
        model: "anthropic/claude-opus-4-5",
        checkout_session: "cs_test_abc",
      },
      offered,
    );
    assert.deepEqual(full.checkout, { by: "session", session: "cs_test_abc" });
    assert.equal(full.model, "anthropic/claude-opus-4-5");
  });

  const wrongTypes = [null, 5, true, [], {}, ["small"], { a: 1 }];
  const bad: Record<string, unknown[]> = {
    customer: ["", " ", "-x", "x".repeat(201), "zwei worte", "naïve", ...injections],
    plan: ["", "Small", "small ", "x".repeat(64), "__proto__", "constructor", ...injections],
    region: ["", "fsn1", "EU-central", "x".repeat(64), "__proto__", "toString", ...injections],
    agent_name: ["", " x", "-x", "x".repeat(64), "a/b", "a\tb", ...injections],
    model: [
      "",
      "opus",
      "/opus",
      "anthropic/",
      "Anthropic/opus",
      `a/${"x".repeat(129)}`,
      "a/b c",
      ...injections,
    ],
    checkout: ["", "us", "CREATE", "create ", ...injections],
    checkout_session: ["", "cs_abc", "cs_test_", "cs_test_a-b", `cs_test_${"x".repeat(201)}`, ...injections],
    env: ["", "A=1", 5, true, null, [], ["A"], [["A", "1"]]],
  };
  for (const [field, values] of Object.entries(bad)) {
    it(`refuses every wrong ${field} by its name`, () => {
      const all = field === "env" ? values : [...wrongTypes, ...values];
      for (const value of all) {
        assert.deepEqual(fields(orderBody({ [field]: value })), [field], JSON.stringify(value));
      }
    });
  }

  it("names every missing field", () => {
    assert.deepEqual(fields({}), ["customer", "plan", "region", "agent_name"]);
    for (const field of ["customer", "plan", "region", "agent_name"]) {
      assert.deepEqual(fields(orderBody({ [field]: undefined })), [field]);
    }
  });

  it("refuses fields that it does not know, printing their names harmlessly", () => {
    assert.deepEqual(fields(orderBody({ agentName: "x" })), ["agentName"]);
    const [problem] = problems(orderBody({ ["a\u001b[2J\n%{x}".repeat(20)]: 1 }));
    assert.match(problem?.field ?? "", /^[A-Za-z0-9_.?-]{1,64}$/);
    assert.match(problem?.remedy ?? "", /known are: customer, plan, region/);
    const polluted = JSON.parse('{"__proto__":{"customer":"x"},"plan":"small"}');
    assert(fields(polluted).includes("customer"));
  });

  it("refuses bodies that are no object", () => {
    for (const body of [null, undefined, 5, "x", [], true]) assert(problems(body).length > 0, String(body));
  });

  it("names the plans and regions that there are", () => {
    assert.equal(problems(orderBody({ plan: "huge" }))[0]?.remedy, "one of: small, large");
    assert.equal(problems(orderBody({ region: "mars" }))[0]?.remedy, "one of: eu-central, us-east");
  });

  it("refuses a region in which no pool of the plan builds: it would be paid for and never made", () => {
    const pools = [
      { plan: "small", locations: ["fsn1"] },
      { plan: "large", locations: ["ash"] },
    ];
    const wrong = orderBody({ region: "us-east" });
    assert.throws(
      () => readOrderRequest(wrong, { ...offered, pools }),
      (error) => {
        assert(error instanceof OrderRequestError);
        const [{ field, remedy }] = error.problems;
        assert.deepEqual([field, remedy], ["region", "one of: eu-central"]);
        return true;
      },
    );
  });

  it("refuses two ways to pay at once", () => {
    assert.deepEqual(fields(orderBody({ checkout: "create", checkout_session: "cs_test_a" })), ["checkout"]);
  });

  describe("the environment", () => {
    const field = (env: Record<string, unknown>) => fields(orderBody({ env }));

    it("refuses names of other forms without repeating them: a value may stand there", () => {
      const names = ["", "a", "A-B", "A B", "1A", "Ä", "A=B", canary, "A".repeat(129), ...injections];
      for (const name of names) assert.deepEqual(field({ [name]: "x" }), ["env"], JSON.stringify(name));
      assert.deepEqual(fields(orderBody({ env: JSON.parse('{"__proto__":"x"}') })), ["env"]);
    });

    it("refuses names that change how programs run, and ours", () => {
      const reserved = [
        "PATH HOME SHELL USER IFS ENV BASH_ENV PROMPT_COMMAND TMPDIR LD_PRELOAD LD_LIBRARY_PATH DYLD_INSERT_LIBRARIES",
        "NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NPM_CONFIG_PREFIX PYTHONPATH PERL5LIB RUBYOPT GIT_SSH_COMMAND",
        "SSH_AUTH_SOCK SUDO_USER XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS SYSTEMD_UNIT NOTIFY_SOCKET SSL_CERT_FILE",
        "OPENCLAW_MODEL OPENCLAW_GATEWAY_TOKEN OPENCLAW_ CLAW_GATEWAY_TOKEN CLAW_ CLAW_X SSLKEYLOGFILE TS_AUTHKEY",
      ].flatMap((line) => line.split(" "));
      for (const name of reserved) assert.deepEqual(field({ [name]: "x" }), [`env.${name}`]);
      for (const name of ["CLAW_MODEL_API_KEY", "CLAW_OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TZ", "_X"]) {
        assert.deepEqual(field({ [name]: "x" }), []);
      }
    });

    it("refuses values that are no text, several lines or not what .env can carry, and never repeats them", () => {
      const values: unknown[] = [null, 5, true, [], {}, "\ud800"];
      for (const end of ["\n", "\r", "\r\n", "\0", "\u001b", "\u007f", "\t", "\u2028", "\u2029"]) {
        values.push(`${canary}${end}x`);
      }
      values.push(`${canary}'"\``, `${canary}'\`\\`, "x".repeat(environmentLimits.valueLength + 1));
      for (const value of values) assert.deepEqual(field({ A: value }), ["env.A"], JSON.stringify(value));
    });

    it("takes values that only look dangerous: they are data to the end", () => {
      const harmless = injections.filter(isOneLine);
      assert(harmless.length > 8);
      for (const value of harmless) assert.deepEqual(field({ A: value }), [], value);
    });

    it("has limits for number and size", () => {
      const many = (count: number) =>
        Object.fromEntries(Array.from({ length: count }, (_, n) => [`A${n}`, "x"]));
      assert.deepEqual(field(many(environmentLimits.variables)), []);
      assert.deepEqual(field(many(environmentLimits.variables + 1)), ["env"]);
      const half = environmentLimits.bytes / 2;
      assert.deepEqual(field({ A: "x".repeat(half - 1), B: "x".repeat(half - 1) }), []);
      assert.deepEqual(field({ A: "x".repeat(half - 1), B: "x".repeat(half) }), ["env"]);
      assert.deepEqual(
        field({ A: "€".repeat(6_000), B: "€".repeat(6_000) }),
        ["env"],
        "bytes, not characters",
      );
    });

    it("lets nothing pass that the machine's program would refuse after the payment", async () => {
      const frame = new URL("../../ansible/files/machine/frame.mjs", import.meta.url).href;
      const { readFrame } = (await import(frame)) as { readFrame(input: Iterable<Buffer>): Promise<unknown> };
      const request = (env: Record<string, string>) =>
        encodeFrame({
          op: "hand-over",
          rehearsal: false,
          order: `ord_${"a".repeat(24)}`,
          generation: 1,
          currentToken: "t".repeat(43),
          gatewayToken: "u".repeat(43),
          env,
          tailnet: null,
          dropAdmin: true,
        });
      await assert.rejects(readFrame([request({ A: "x\ny" })]), "the program does look at values");
      const hard = fc.string({
        unit: fc.constantFrom("'", '"', "`", "\\", "$", "#", " ", "=", "a", "€", "\n"),
      });
      const names = fc.stringMatching(/^[A-Z_]{1,12}$/);
      const values = fc.oneof(hard, fc.string({ unit: "binary" }));
      await fc.assert(
        fc.asyncProperty(fc.dictionary(names, values), async (wanted) => {
          const result = readEnvironment(wanted);
          if ("env" in result) await readFrame([request(result.env)]);
        }),
        { numRuns: 1_000 },
      );
    });
  });
});
