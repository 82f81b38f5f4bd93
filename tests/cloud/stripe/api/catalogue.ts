/** Customers, products, prices. */
import { missing, missingParameter, refused } from "../errors.ts";
import { makeCustomer, makePrice, makeProduct } from "../objects/catalogue.ts";
import type { CustomerObject, PriceObject, ProductObject, StripeObject } from "../objects/wire.ts";
import type { Account } from "../state/account.ts";
import { attach, methodOf } from "../state/payment-methods.ts";
import { cancelNow } from "../state/subscriptions.ts";
import type { Call, Handler, Route } from "./call.ts";
import { is, page, within } from "./lists.ts";
import type { Parameters } from "./parameters.ts";

/** Answers with the object that the path names. */
const retrieve =
  (find: (call: Call) => StripeObject): Handler =>
  (call) => {
    call.parameters.done();
    return find(call);
  };

const intervals = ["day", "week", "month", "year"] as const;

export const catalogueRoutes: readonly Route[] = [
  ["POST", "/v1/customers", createCustomer],
  [
    "GET",
    "/v1/customers/:id",
    retrieve(({ account, id }) =>
      // A deleted customer is still known, with nothing left of it.
      account.deletedCustomers.has(id) ? deleted(id) : account.customer(id),
    ),
  ],
  ["POST", "/v1/customers/:id", updateCustomer],
  ["DELETE", "/v1/customers/:id", deleteCustomer],
  ["GET", "/v1/customers", listCustomers],
  ["POST", "/v1/products", createProduct],
  ["GET", "/v1/products/:id", retrieve((call) => productOf(call))],
  ["POST", "/v1/products/:id", updateProduct],
  ["GET", "/v1/products", listProducts],
  ["POST", "/v1/prices", createPrice],
  ["GET", "/v1/prices/:id", retrieve((call) => priceOf(call))],
  ["POST", "/v1/prices/:id", updatePrice],
  ["GET", "/v1/prices", listPrices],
];

const deleted = (id: string) => ({ id, object: "customer", deleted: true });

function createCustomer({ account, parameters }: Call): CustomerObject {
  const fields = {
    email: parameters.text("email", { max: 512 }),
    name: parameters.text("name", { max: 256 }),
    description: parameters.text("description"),
    phone: parameters.text("phone", { max: 20 }),
    metadata: parameters.metadata(),
  };
  const methods = readMethods(parameters);
  parameters.done();
  const customer = makeCustomer({ ...fields, now: account.now() });
  account.customers.set(customer.id, customer);
  account.record("customer.created", customer);
  takeMethods(account, customer, methods);
  return customer;
}

function updateCustomer({ account, id, parameters }: Call): CustomerObject {
  const customer = account.customer(id);
  const fields: Partial<CustomerObject> = { metadata: parameters.metadata(customer.metadata) };
  for (const name of ["email", "name", "description", "phone"] as const) {
    const value = parameters.clearable(name);
    if (value !== undefined) fields[name] = value;
  }
  const methods = readMethods(parameters);
  parameters.done();
  account.change(customer, fields, "customer.updated");
  takeMethods(account, customer, methods);
  return customer;
}

interface Methods {
  /** To attach. */
  readonly attached: string | null;
  /** To pay invoices with. */
  readonly usual: string | null;
}

function readMethods(parameters: Parameters): Methods {
  const settings = parameters.part("invoice_settings");
  return {
    attached: parameters.text("payment_method"),
    usual: settings?.text("default_payment_method") ?? null,
  };
}

/** A test card named like `pm_card_visa` becomes a method of its own, the same one where it is named twice. */
function takeMethods(account: Account, customer: CustomerObject, { attached, usual }: Methods): void {
  const method = attached === null ? null : methodOf(account, attached, "payment_method");
  if (method) attach(account, method, customer);
  if (usual === null) return;
  const paying =
    usual === attached && method
      ? method
      : methodOf(account, usual, "invoice_settings[default_payment_method]");
  attach(account, paying, customer);
  const invoice_settings = { ...customer.invoice_settings, default_payment_method: paying.id };
  account.change(customer, { invoice_settings }, "customer.updated");
}

/** Ends the customer's subscriptions, too. Source: Stripe's API reference, "Delete a customer". */
function deleteCustomer({ account, id, parameters }: Call): unknown {
  parameters.done();
  const customer = account.customer(id);
  for (const subscription of account.subscriptions.values()) {
    if (subscription.customer === id && subscription.ended_at === null) cancelNow(account, subscription);
  }
  account.customers.delete(id);
  account.deletedCustomers.add(id);
  account.record("customer.deleted", customer);
  return deleted(id);
}

function listCustomers(call: Call): unknown {
  const { account, parameters } = call;
  const created = parameters.range("created");
  const email = parameters.text("email");
  return page(
    call,
    account.customers.values(),
    (customer) => within(created, customer.created) && is(email, customer.email),
  );
}

function createProduct({ account, parameters }: Call): ProductObject {
  const id = parameters.text("id", { max: 255 });
  const fields = {
    name: parameters.required("name"),
    description: parameters.text("description"),
    active: parameters.boolean("active") ?? true,
    metadata: parameters.metadata(),
  };
  parameters.done();
  if (id !== null && account.products.has(id))
    throw refused("Product already exists.", "resource_already_exists");
  const product = makeProduct({ ...fields, ...(id === null ? {} : { id }), now: account.now() });
  account.products.set(product.id, product);
  account.record("product.created", product);
  return product;
}

function productOf({ account, id }: Call): ProductObject {
  const product = account.products.get(id);
  if (!product) throw missing("product", id);
  return product;
}

function updateProduct(call: Call): ProductObject {
  const { account, parameters } = call;
  const product = productOf(call);
  const fields: Partial<ProductObject> = {
    metadata: parameters.metadata(product.metadata),
    name: parameters.text("name") ?? product.name,
    active: parameters.boolean("active") ?? product.active,
  };
  const description = parameters.clearable("description");
  if (description !== undefined) fields.description = description;
  parameters.done();
  account.change(product, { ...fields, updated: account.now() }, "product.updated");
  return product;
}

function listProducts(call: Call): unknown {
  const { account, parameters } = call;
  const created = parameters.range("created");
  const active = parameters.boolean("active");
  const ids = parameters.texts("ids");
  return page(
    call,
    account.products.values(),
    (product) =>
      within(created, product.created) &&
      (active === null || product.active === active) &&
      (ids === null || ids.includes(product.id)),
  );
}

function createPrice({ account, parameters }: Call): PriceObject {
  const currency = parameters.required("currency", { max: 3 }).toLowerCase();
  const recurring = parameters.part("recurring");
  const interval = recurring?.oneOf("interval", intervals) ?? null;
  if (recurring && interval === null) throw missingParameter("recurring[interval]");
  const product = parameters.required("product");
  const unitAmount = parameters.integer("unit_amount", { min: 0, max: 99_999_999 });
  if (unitAmount === null) throw missingParameter("unit_amount");
  const fields = {
    product,
    currency,
    unitAmount,
    interval,
    intervalCount: recurring?.integer("interval_count", { min: 1, max: 1_095 }) ?? 1,
    active: parameters.boolean("active") ?? true,
    lookupKey: parameters.text("lookup_key", { max: 200 }),
    nickname: parameters.text("nickname"),
    metadata: parameters.metadata(),
  };
  parameters.done(["billing_scheme", "tiers", "tiers_mode", "custom_unit_amount", "product_data"]);
  if (!account.products.has(product)) throw missing("product", product, "product", 400);
  const price = makePrice({ ...fields, now: account.now() });
  account.prices.set(price.id, price);
  account.record("price.created", price);
  return price;
}

function priceOf({ account, id }: Call): PriceObject {
  const price = account.prices.get(id);
  if (!price) throw missing("price", id, "price");
  return price;
}

function updatePrice(call: Call): PriceObject {
  const { account, parameters } = call;
  const price = priceOf(call);
  const fields: Partial<PriceObject> = {
    metadata: parameters.metadata(price.metadata),
    active: parameters.boolean("active") ?? price.active,
  };
  const nickname = parameters.clearable("nickname");
  if (nickname !== undefined) fields.nickname = nickname;
  parameters.done();
  account.change(price, fields, "price.updated");
  return price;
}

function listPrices(call: Call): unknown {
  const { account, parameters } = call;
  const created = parameters.range("created");
  const active = parameters.boolean("active");
  const product = parameters.text("product");
  const type = parameters.oneOf("type", ["one_time", "recurring"]);
  const currency = parameters.text("currency");
  const keys = parameters.texts("lookup_keys", 10);
  return page(
    call,
    account.prices.values(),
    (price) =>
      within(created, price.created) &&
      (active === null || price.active === active) &&
      is(product, price.product) &&
      is(type, price.type) &&
      is(currency, price.currency) &&
      (keys === null || keys.includes(price.lookup_key ?? "")),
  );
}
