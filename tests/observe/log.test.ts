import { strict as assert } from "node:assert";
import { createHash, randomUUID } from "node:crypto";
import fc from "fast-check";
import { createLog, scrub } from "../../pool/observe/log.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";

const chars = (alphabet: string, least: number, most = least) =>
  fc
    .array(fc.constantFrom(...alphabet), { minLength: least, maxLength: most })
    .map((letters) => letters.join(""));
const lower = "abcdefghijklmnopqrstuvwxyz";
const digits = "0123456789";
const word = `${lower}${lower.toUpperCase()}${digits}`;
/** What each owner says that its secrets look like. */
const shapes: Readonly<Record<string, fc.Arbitrary<string>>> = {
  "Hetzner token": fc
    .tuple(chars(word, 61), chars(lower, 1), chars(lower.toUpperCase(), 1), chars(digits, 1))
    .map((parts) => parts.join("")),
  "Tailscale key": fc
    .tuple(fc.constantFrom("auth", "client", "api"), chars(word, 12, 18), chars(word, 32))
    .map(([kind, id, rest]) => `tskey-${kind}-${id}-${rest}`),
  "Stripe key": fc
    .tuple(fc.constantFrom("sk_live", "sk_test", "rk_live", "rk_test"), chars(word, 24, 99))
    .map(([kind, rest]) => `${kind}_${rest}`),
  "webhook secret": chars(`${word}+/`, 32, 44).map((rest) => `whsec_${rest}`),
  "model provider's key": fc
    .tuple(fc.constantFrom("sk-", "sk-ant-api03-", "sk-proj-"), chars(`${word}-_`, 40, 90))
    .map((parts) => parts.join("")),
  "Telegram token": fc
    .tuple(chars("123456789", 8, 10), chars(word, 35))
    .map(([bot, rest]) => `${bot}:${rest}`),
  "bearer token": chars(`${word}-._~+/`, 16, 64).map((token) => `Bearer ${token}`),
};
const marks = [
  "",
  " ",
  '"',
  '\\"',
  "'",
  "=",
  ", ",
  "\n",
  "\\n",
  "\\r\\n",
  "\\t",
  "\\u001b",
  "(",
  ")",
  ":",
  "error: ",
];
const ahead = fc.constantFrom(...marks);
/** What ends a token: a letter or digit would be part of it. */
const behind = fc.constantFrom(...marks.filter((mark) => !/^\w/.test(mark)), " refused");

describe("the scrubber of the log", () => {
  for (const [what, shape] of Object.entries(shapes)) {
    it(`leaves nothing of a ${what}, wherever it stands in a line`, () => {
      fc.assert(
        fc.property(ahead, shape, behind, (before, secret, after) => {
          const clean = scrub(`${before}${secret}${after}`);
          assert.ok(!clean.includes(secret.replace(/^Bearer /, "").slice(-16)), clean);
          assert.ok(clean.includes("[secret]"));
          assert.ok(clean.startsWith(before));
        }),
        { numRuns: 300 },
      );
    });
  }

  it("leaves nothing of a private key, as text, as JSON, or cut off", () => {
    const pem = generateKeyPair().privateKey.expose();
    const body = pem.split("\n")[3] ?? assert.fail();
    for (const text of [pem, JSON.stringify({ key: pem }), JSON.stringify({ key: pem }).slice(0, 250)]) {
      const clean = scrub(text);
      assert.ok(!clean.includes(body), clean);
      assert.ok(clean.includes("[secret]"));
    }
    assert.equal(JSON.parse(scrub(JSON.stringify({ key: pem, other: 1 }))).other, 1);
  });

  it("leaves everything else as it is", () => {
    const sha = fc.string().map((text) => createHash("sha256").update(text).digest("hex"));
    const ordinary = fc.oneof(
      sha,
      fc.nat().map((id) => `server ${id}`),
      chars(`${lower}234567`, 10).map((suffix) => `claw-main-${suffix}`),
      chars(`${lower}234567`, 24).map((suffix) => `ord_${suffix}`),
      fc.constant(0).map(() => randomUUID()),
      fc.constantFrom(
        generateKeyPair().publicKey,
        `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${"aB3".repeat(13)}/abc`,
        "cs_test_a1B2c3D4e5F6g7H8",
        "evt_1MqLKzLkdIwHu7ixUEgQXK3s",
        "2026-01-01T00:00:00.000Z",
        "http://127.0.0.1:41234/v1/servers/42",
        "100.64.0.7",
        "skip-this-one-and-the-next-word",
        "x".repeat(64),
        "task-auth-some-long-hyphenated-name",
      ),
    );
    fc.assert(
      fc.property(fc.array(ordinary, { minLength: 1, maxLength: 4 }), (words) => {
        const text = words.join(" ");
        assert.equal(scrub(text), text);
      }),
    );
  });
});

describe("the log", () => {
  it("writes JSON lines with the ids given, the time in ISO, and no secret in any field", () => {
    const lines: string[] = [];
    const log = createLog("info", { write: (line: string) => void lines.push(line) });
    const token = `aB1${"x".repeat(61)}`;
    log
      .child({ machine: "claw-1" })
      .warn({ order: "o-1", err: new Error(`401 for ${token}`) }, `token ${token}`);
    log.info({ token: new Secret(token), nested: { key: `tskey-auth-k${"1".repeat(12)}-x` } }, "minted");
    log.debug("not at this level");
    assert.equal(lines.length, 2);
    assert.ok(!lines.join("").includes(token));
    const [warning, info] = lines.map((line) => JSON.parse(line));
    assert.equal(warning.level, "warn");
    assert.equal(warning.machine, "claw-1");
    assert.equal(warning.order, "o-1");
    assert.equal(warning.msg, "token [secret]");
    assert.equal(warning.err.message, "401 for [secret]");
    assert.equal(new Date(warning.time).toISOString(), warning.time);
    assert.deepEqual([info.token, info.nested.key], ["[secret]", "[secret]"]);
  });
});
