import { strict as assert } from "node:assert";
import { ConfigError, parseConfig } from "../../pool/config/load.ts";
import { channelsOf } from "../../pool/notify/courier.ts";
import { env, example } from "./example.ts";

const secrets = {
  HOOK: `whsec_${Buffer.alloc(32, 1).toString("base64")}`,
  SHORT: `whsec_${Buffer.alloc(8, 1).toString("base64")}`,
  SMTP: "smtp-password",
};
const parse = (notify: string) =>
  parseConfig(`${example}\nnotify: ${notify}\n`, "clawpool.yaml", { ...env, ...secrets }).notify;

const hook = (url: string, secret = "HOOK") =>
  `{ callback: { url: "${url}", secrets: [{ env: ${secret} }] } }`;
const mail = "operators: { mail: { to: [ops@example.com] } }";

describe("notify in the configuration", () => {
  it("tells nobody unless told otherwise", () => {
    const { notify } = parseConfig(example, "clawpool.yaml", env);
    assert.deepEqual(channelsOf(notify), []);
    assert.equal(notify.digestMs, 300_000);
  });

  it("names who is told, and shows no secret", () => {
    const notify = parse(
      `{ operators: { mail: { to: [ops@example.com] } }, product: ${hook("https://shop.example/x")}, digest: 1m, ` +
        "smtp: { host: mail.example, user: u, password: { env: SMTP }, from: pool@example.com } }",
    );
    assert.deepEqual(channelsOf(notify), ["operators/mail", "product/callback"]);
    assert.deepEqual([notify.smtp?.port, notify.smtp?.tls], [587, "starttls"]);
    const shown = JSON.stringify(notify);
    for (const secret of Object.values(secrets)) assert(!shown.includes(secret));
  });

  it("lets a receiver on this machine do without TLS", () => {
    assert(parse(`{ product: ${hook("http://127.0.0.1:3000/x")} }`).product.callback);
  });

  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ["no TLS", `{ product: ${hook("http://shop.example/x")} }`, /product\.callback\.url: want https/],
    ["a password in the address", `{ product: ${hook("https://a:b@shop.example/x")} }`, /url: a password/],
    [
      "a short secret",
      `{ product: ${hook("https://shop.example", "SHORT")} }`,
      /secrets\.0: want whsec_ and 24 to 64/,
    ],
    ["another's secret", `{ product: ${hook("https://shop.example", "SMTP")} }`, /secrets\.0: want whsec_/],
    ["a secret that is not set", `{ product: ${hook("https://shop.example", "NONE")} }`, /NONE is not set/],
    ["mail without a server", `{ ${mail} }`, /operators\.mail: nobody sends it: set notify\.smtp/],
    ["no address", "{ operators: { mail: { to: [ops] } } }", /operators\.mail\.to\.0: /],
    [
      "a user without a password",
      `{ ${mail}, smtp: { host: m, user: u, from: a@b.example } }`,
      /go together/,
    ],
    [
      "a password in the clear",
      `{ ${mail}, smtp: { host: m, user: u, password: { env: SMTP }, tls: none, from: a@b.example } }`,
      /sent in the clear/,
    ],
    ["a day between two messages", "{ digest: 1d }", /notify\.digest: want 1h at most/],
    ["an unknown key", "{ operator: {} }", /notify\.operator: unknown key; did you mean operators\?/],
  ];
  for (const [what, notify, said] of wrong) {
    it(`says what is wrong with ${what}`, () => {
      assert.throws(
        () => parse(notify),
        (error) => error instanceof ConfigError && error.problems.some((problem) => said.test(problem)),
      );
    });
  }
});
