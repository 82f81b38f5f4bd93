import { invalidParameter, missing, missingParameter } from "../errors.ts";
import type { SessionObject } from "../objects/wire.ts";
import type { Account } from "../state/account.ts";
import { expireSession, lineItemsOf, openSession } from "../state/checkout.ts";
import type { Call, Route } from "./call.ts";
import { is, page, within } from "./lists.ts";
import type { Parameters } from "./parameters.ts";

/** Documented parameters of "Create a Checkout Session" that this stand-in knows nothing about. */
const documented = [
  "adaptive_pricing after_expiration allow_promotion_codes allowed_payment_method_types automatic_tax",
  "billing_address_collection branding_settings consent_collection currency custom_fields custom_text",
  "customer_account customer_creation customer_update discounts excluded_payment_method_types",
  "integration_identifier invoice_creation managed_payments name_collection optional_items origin_context",
  "payment_method_collection payment_method_configuration payment_method_data",
  "payment_method_options permissions phone_number_collection redirect_on_completion return_url",
  "saved_payment_method_options setup_intent_data shipping_address_collection shipping_options submit_type",
  "tax_id_collection wallet_options line_items.price_data line_items.adjustable_quantity",
  "line_items.dynamic_tax_rates line_items.tax_rates line_items.metadata",
  "subscription_data.application_fee_percent subscription_data.billing_cycle_anchor",
  "subscription_data.billing_mode subscription_data.default_tax_rates subscription_data.invoice_settings",
  "subscription_data.on_behalf_of subscription_data.proration_behavior subscription_data.transfer_data",
  "subscription_data.trial_end subscription_data.trial_period_days subscription_data.trial_settings",
].flatMap((line) => line.split(" "));

const locales: readonly NonNullable<SessionObject["locale"]>[] = [
  ...([
    "auto",
    "bg",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "en-GB",
    "es",
    "es-419",
    "et",
    "fi",
    "fil",
    "fr",
  ] as const),
  ...([
    "fr-CA",
    "hi-IN",
    "hr",
    "hu",
    "id",
    "it",
    "ja",
    "ko",
    "lt",
    "lv",
    "ms",
    "mt",
    "nb",
    "nl",
    "pl",
  ] as const),
  ...(["pt", "pt-BR", "ro", "ru", "sk", "sl", "sv", "th", "tr", "vi", "zh", "zh-HK", "zh-TW"] as const),
];

/** Source: Stripe's API reference, `expires_at`: 30 minutes to 24 hours. */
const opens = { shortest: 30 * 60, longest: 86_400 };

export const checkoutRoutes: readonly Route[] = [
  ["POST", "/v1/checkout/sessions", create],
  [
    "GET",
    "/v1/checkout/sessions/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      return account.session(id);
    },
  ],
  ["GET", "/v1/checkout/sessions", list],
  [
    "POST",
    "/v1/checkout/sessions/:id",
    ({ account, id, parameters }) => {
      const session = account.session(id);
      const metadata = parameters.metadata(session.metadata ?? {});
      parameters.done();
      account.change(session, { metadata }, null);
      return session;
    },
  ],
  [
    "POST",
    "/v1/checkout/sessions/:id/expire",
    ({ account, id, parameters }) => {
      parameters.done();
      return expireSession(account, id);
    },
  ],
  [
    "GET",
    "/v1/checkout/sessions/:id/line_items",
    (call) => {
      const items = lineItemsOf(call.account, call.id);
      return page(call, items.reverse(), () => true);
    },
  ],
];

function create({ account, parameters }: Call): SessionObject {
  const mode = parameters.oneOf("mode", ["payment", "setup", "subscription"]);
  if (mode === null) throw missingParameter("mode");
  if (mode === "setup") throw invalidParameter("mode", "This stand-in for Stripe sells, and nothing else.");
  const uiMode = parameters.oneOf("ui_mode", ["hosted_page", "embedded_page", "elements", "form"]);
  if (uiMode !== null && uiMode !== "hosted_page") {
    throw invalidParameter("ui_mode", "This stand-in for Stripe has a hosted page only.");
  }
  const items = readItems(parameters);
  const successUrl = parameters.url("success_url");
  if (successUrl === null) throw missingParameter("success_url");
  const data = parameters.part("subscription_data");
  if (data && mode !== "subscription") {
    throw invalidParameter("subscription_data", "You can not pass `subscription_data` in `payment` mode.");
  }
  const customer = parameters.text("customer");
  const customerEmail = parameters.text("customer_email", { max: 512 });
  if (customer !== null && customerEmail !== null) {
    throw invalidParameter(
      "customer_email",
      "You may only specify one of these parameters: customer, customer_email.",
    );
  }
  // Which methods there are is shown, not chosen, and what the seller wants to know of the buyer is not asked.
  parameters.texts("payment_method_types");
  const intent = parameters.part("payment_intent_data");
  intent?.oneOf("setup_future_usage", ["off_session", "on_session"]);
  const shipping = intent?.part("shipping");
  shipping?.text("name");
  const address = shipping?.part("address");
  for (const line of ["line1", "line2", "city", "state", "postal_code", "country"]) address?.text(line);
  const wanted = {
    mode,
    items,
    successUrl,
    cancelUrl: parameters.url("cancel_url"),
    clientReferenceId: parameters.text("client_reference_id", { max: 200 }),
    customer,
    customerEmail,
    locale: parameters.oneOf("locale", locales),
    metadata: parameters.metadata(),
    subscriptionMetadata: data?.metadata() ?? {},
    subscriptionDescription: data?.text("description", { max: 500 }) ?? null,
    expiresAt: readExpiry(account, parameters),
  };
  parameters.done(documented);
  return openSession(account, wanted);
}

function readItems(parameters: Parameters): { price: string; quantity: number }[] {
  const items = parameters.parts("line_items");
  if (items === null || items.length === 0) throw missingParameter("line_items");
  if (items.length > 100) throw invalidParameter("line_items", "Array must have at most 100 elements.");
  return items.map((item) => {
    // With a price of its own the item has no `price`; that it is not known here is said by done().
    const price = item.has("price_data") ? "" : item.required("price");
    const quantity = item.integer("quantity", { min: 1, max: 999_999 });
    if (quantity === null) throw missingParameter(item.name("quantity"));
    return { price, quantity };
  });
}

function readExpiry(account: Account, parameters: Parameters): number | null {
  const at = parameters.integer("expires_at", { min: 0, max: 1e12 });
  if (at === null) return null;
  const seconds = at - account.now();
  if (seconds < opens.shortest || seconds > opens.longest) {
    throw invalidParameter(
      "expires_at",
      "The `expires_at` timestamp must be at least 30 minutes and less than 24 hours from Checkout Session creation.",
    );
  }
  return at;
}

function list(call: Call): unknown {
  const { account, parameters } = call;
  const created = parameters.range("created");
  const customer = parameters.text("customer");
  const subscription = parameters.text("subscription");
  const intent = parameters.text("payment_intent");
  const status = parameters.oneOf("status", ["complete", "expired", "open"]);
  const email = parameters.part("customer_details")?.text("email") ?? null;
  if (subscription !== null && !account.subscriptions.has(subscription)) {
    throw missing("subscription", subscription, "subscription", 400);
  }
  return page(
    call,
    account.sessions.values(),
    (session) =>
      within(created, session.created) &&
      is(customer, session.customer) &&
      is(subscription, session.subscription) &&
      is(intent, session.payment_intent) &&
      is(email, session.customer_details?.email) &&
      is(status, session.status),
  );
}
