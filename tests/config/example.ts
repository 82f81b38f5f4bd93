/** A complete, valid clawpool.yaml for tests, and the environment it refers to. */
export const env = {
  HCLOUD: "h".repeat(64),
  STRIPE_KEY: "sk_test_1",
  STRIPE_SECRET: "whsec_1",
  API_TOKEN: "token-of-the-web-app",
  TS_SECRET: "tskey-client-1",
  SEALING: Buffer.alloc(32, 7).toString("base64"),
};

export const example = `
instance: test
state_dir: /tmp/clawpool-test
plans:
  small: { price: price_small }
pools:
  small-eu:
    plan: small
    regions: [eu-central]
    server_type: cx23
    min_ready: 3
    max_total: 10
max_total: 20
api:
  public_url: http://127.0.0.1:8080
  tokens: [{ env: API_TOKEN }]
stripe:
  key: { env: STRIPE_KEY }
  webhook_secrets: [{ env: STRIPE_SECRET }]
  success_url: https://shop.example/thanks
  cancel_url: https://shop.example/cart
hetzner:
  token: { env: HCLOUD }
network:
  ssh_from: [203.0.113.7/32]
tailnet:
  client_id: client
  client_secret: { env: TS_SECRET }
sealing_keys: [{ env: SEALING }]
`;
