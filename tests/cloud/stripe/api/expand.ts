/** `expand[]`: ids replaced by the objects that they name, and lists that are left out otherwise. */
import { invalidParameter } from "../errors.ts";
import { listOf, type StripeObject } from "../objects/wire.ts";
import type { Account } from "../state/account.ts";
import { lineItemsOf } from "../state/checkout.ts";

/** Source: Stripe's documentation of expanding responses. */
const deepest = 4;

/** Fields that name another object, by kind; with a dot inside a nested hash. */
const references: Readonly<Record<string, readonly string[]>> = {
  "checkout.session": ["customer", "invoice", "payment_intent", "subscription"],
  subscription: ["customer", "default_payment_method", "latest_invoice"],
  invoice: ["customer", "default_payment_method", "parent.subscription_details.subscription"],
  invoice_payment: ["invoice", "payment.payment_intent"],
  line_item: ["pricing.price_details.price", "subscription"],
  payment_intent: ["customer", "latest_charge", "payment_method"],
  charge: ["customer", "payment_intent"],
  refund: ["charge", "customer", "payment_intent", "payment_method"],
  dispute: ["charge", "payment_intent"],
  payment_method: ["customer"],
  plan: ["product"],
  price: ["product"],
  product: ["default_price"],
};

type Include = (account: Account, id: string) => readonly StripeObject[];

/** Lists that Stripe shows only on request, by kind and field. */
const included: Readonly<Record<string, Readonly<Record<string, Include>>>> = {
  "checkout.session": { line_items: (account, id) => lineItemsOf(account, id) },
  invoice: {
    payments: (account, id) => [...account.invoicePayments.values()].filter(({ invoice }) => invoice === id),
  },
  charge: { refunds: (account, id) => [...account.refunds.values()].filter(({ charge }) => charge === id) },
  customer: {
    subscriptions: (account, id) =>
      [...account.subscriptions.values()].filter(
        ({ customer, ended_at }) => customer === id && ended_at === null,
      ),
  },
};

type Hash = Record<string, unknown>;

/** A copy of `answer` with every path expanded. @throws ApiError for a path that names nothing expandable. */
export function expand(account: Account, answer: unknown, paths: readonly string[]): unknown {
  const copy = structuredClone(answer);
  for (const path of paths) {
    const steps = path.split(".");
    const depth = steps.filter((step) => step !== "data").length;
    if (depth > deepest) {
      throw invalidParameter(
        "expand",
        `You cannot expand more than ${deepest} levels of a property. Property: ${path}`,
      );
    }
    step(account, copy, steps, "", "", path);
  }
  return copy;
}

/** A nested hash has no kind of its own: `holder` is that of the object around it, `within` the path from there. */
function step(
  account: Account,
  value: unknown,
  [first, ...rest]: readonly string[],
  holder: string,
  within: string,
  path: string,
): void {
  if (first === undefined) return;
  if (Array.isArray(value)) {
    for (const item of value) step(account, item, [first, ...rest], "", "", path);
    return;
  }
  if (typeof value !== "object" || value === null) throw cannot(path);
  const hash = value as Hash;
  const own = typeof hash.object === "string" ? hash.object : null;
  if (own === "list") {
    if (first !== "data") throw cannot(path);
    step(account, hash.data, rest, "", "", path);
    return;
  }
  const kind = own ?? holder;
  const name = own !== null || within === "" ? first : `${within}.${first}`;
  const include = included[kind]?.[name];
  if (include && typeof hash.id === "string") {
    const folder = kind === "checkout.session" ? "checkout/sessions" : `${kind}s`;
    hash[first] ??= structuredClone(
      listOf(`/v1/${folder}/${hash.id}/${first}`, [...include(account, hash.id)]),
    );
  } else if (references[kind]?.includes(name)) {
    if (hash[first] == null) return;
    if (typeof hash[first] === "string") hash[first] = structuredClone(account.find(hash[first]));
  } else if (typeof hash[first] !== "object" || rest.length === 0) throw cannot(path);
  step(account, hash[first], rest, kind, name, path);
}

const cannot = (path: string) => invalidParameter("expand", `This property cannot be expanded (${path}).`);
