/** The /v1 calls, with Stripe's authentication, form bodies, idempotency keys, paging and error envelope. */
import { createHash } from "node:crypto";
import Router from "@koa/router";
import type { Context, Middleware } from "koa";
import getRawBody from "raw-body";
import { stripeApiVersion } from "../../../pool/stripe/gateway.ts";
import { ApiError, invalidParameter, missing, missingParameter, unknownParameter } from "./errors.ts";
import { decodeForm, type Form, type FormValue } from "./form.ts";
import { type Metadata, makeId } from "./objects.ts";
import type { Account, NewSession } from "./state.ts";

/** Something that goes wrong on purpose, for calls whose `METHOD /path` begins with `call`. */
export interface Fault {
  readonly call: string;
  /** An HTTP status, or `cut`: the connection ends without an answer (after the work is done, if `after`). */
  readonly status: number | "cut" | "held";
  /** With `held`: the call is answered, as things are then, when this resolves. */
  readonly until?: Promise<void>;
  readonly times: number;
  readonly after?: boolean;
}

export interface ApiCall {
  readonly at: number;
  readonly method: string;
  readonly path: string;
  readonly idempotencyKey: string | null;
  readonly apiVersion: string | null;
  readonly form: Form;
  readonly status: number | "cut";
}

export interface ApiOptions {
  readonly account: Account;
  readonly key: string;
  readonly now: () => number;
  readonly faults: Fault[];
  readonly calls: ApiCall[];
  /** For a subscription that is cancelled by a call. */
  readonly announce: (events: ReturnType<Account["cancel"]>) => void;
}

interface Saved {
  readonly fingerprint: string;
  readonly status: number;
  readonly body: unknown;
}

export function createStripeApi(options: ApiOptions): Middleware {
  const { account } = options;
  const saved = new Map<string, Saved>();
  const router = new Router({ prefix: "/v1" });

  router.post("/checkout/sessions", (context) => {
    const form = formOf(context);
    const session = account.createSession(readNewSession(form));
    context.body = expand(session, form, account);
  });
  router.get("/checkout/sessions/:id", (context) => {
    context.body = expand(account.session(param(context, "id")), formOf(context), account);
  });
  router.get("/checkout/sessions", (context) => {
    const form = formOf(context);
    const wanted = (field: "status" | "subscription" | "customer") => text(form[field]);
    context.body = page(context, [...account.sessions.values()].reverse(), (session) =>
      (["status", "subscription", "customer"] as const).every(
        (field) => wanted(field) === null || session[field] === wanted(field),
      ),
    );
  });
  router.get("/subscriptions/:id", (context) => {
    context.body = account.subscription(param(context, "id"));
  });
  router.get("/subscriptions", (context) => {
    const form = formOf(context);
    const status = text(form.status);
    const customer = text(form.customer);
    context.body = page(
      context,
      [...account.subscriptions.values()].reverse(),
      (subscription) =>
        (customer === null || subscription.customer === customer) &&
        // Without a status Stripe leaves the cancelled ones out.
        (status === "all" ||
          (status === null ? subscription.status !== "canceled" : subscription.status === status)),
    );
  });
  router.delete("/subscriptions/:id", (context) => {
    options.announce(account.cancel(param(context, "id")));
    context.body = account.subscription(param(context, "id"));
  });
  router.get("/customers/:id", (context) => {
    context.body = found(account.customers, "customer", context);
  });
  router.get("/invoices/:id", (context) => {
    context.body = found(account.invoices, "invoice", context);
  });
  router.get("/prices/:id", (context) => {
    context.body = found(account.prices, "price", context);
  });
  router.get("/events/:id", (context) => {
    const event = account.events.find((one) => one.id === param(context, "id"));
    if (!event) throw missing("event", param(context, "id"));
    context.body = event;
  });
  router.get("/events", (context) => {
    const form = formOf(context);
    const types = Array.isArray(form.types) ? form.types : form.type === undefined ? null : [form.type];
    context.body = page(
      context,
      [...account.events].reverse(),
      (event) => types?.includes(event.type) ?? true,
    );
  });

  return async (context, next) => {
    if (!context.path.startsWith("/v1/")) return next();
    const at = options.now();
    const form = await readForm(context);
    context.state.form = form;
    const requestId = makeId("req_", 14);
    context.set({ "request-id": requestId, "stripe-version": stripeApiVersion });
    const idempotencyKey = context.method === "POST" ? context.get("idempotency-key") || null : null;
    const fault = takeFault(options.faults, `${context.method} ${context.path}`);
    await fault?.until;
    if (fault && fault.status !== "held" && !fault.after) fail(context, fault);
    else {
      await answer(context, idempotencyKey);
      if (fault) fail(context, fault);
    }
    options.calls.push({
      at,
      method: context.method,
      path: context.path,
      idempotencyKey,
      apiVersion: context.get("stripe-version") || null,
      form,
      status: fault === null || fault.status === "held" ? context.status : fault.status,
    });
  };

  async function answer(context: Context, idempotencyKey: string | null): Promise<void> {
    try {
      authenticate(context, options.key);
      const replayed = idempotencyKey === null ? null : replay(context, saved, idempotencyKey);
      if (replayed) {
        context.status = replayed.status;
        context.body = replayed.body;
        context.set("idempotent-replayed", "true");
        return;
      }
      await router.routes()(context as never, async () => {
        throw new ApiError(404, {
          message: `Unrecognized request URL (${context.method}: ${context.path}).`,
        });
      });
      if (context.method === "POST") context.status = 200;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      context.status = error.status;
      context.body = error.body;
    }
    // Stripe keeps the first answer of a key once the call was begun, errors included, but not a refused key.
    if (idempotencyKey !== null && context.status !== 401 && !context.response.get("idempotent-replayed")) {
      saved.set(idempotencyKey, {
        fingerprint: fingerprint(context),
        status: context.status,
        body: structuredClone(context.body),
      });
    }
  }
}

function authenticate(context: Context, key: string): void {
  const [scheme, given] = context.get("authorization").split(" ", 2);
  if (scheme !== "Bearer" || !given) {
    throw new ApiError(401, { message: "You did not provide an API key." });
  }
  if (given !== key) {
    throw new ApiError(401, { message: `Invalid API Key provided: ${given.slice(0, 8)}****` });
  }
  const version = context.get("stripe-version");
  if (version !== "" && version !== stripeApiVersion) {
    throw new ApiError(400, { message: `Invalid Stripe API version: ${version}` });
  }
}

function replay(context: Context, saved: ReadonlyMap<string, Saved>, key: string): Saved | null {
  if (key.length > 255) {
    throw new ApiError(400, { message: "Idempotency keys are at most 255 characters long." });
  }
  const before = saved.get(key);
  if (!before) return null;
  if (before.fingerprint !== fingerprint(context)) {
    throw new ApiError(400, {
      type: "idempotency_error",
      message: `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}'.`,
    });
  }
  return before;
}

function fingerprint(context: Context): string {
  const call = JSON.stringify([context.method, context.path, formOf(context)]);
  return createHash("sha256").update(call).digest("hex");
}

function takeFault(faults: Fault[], call: string): Fault | null {
  const index = faults.findIndex((fault) => call.startsWith(fault.call));
  const fault = faults[index];
  if (!fault) return null;
  if (fault.times <= 1) faults.splice(index, 1);
  else faults[index] = { ...fault, times: fault.times - 1 };
  return fault;
}

function fail(context: Context, fault: Fault): void {
  if (fault.status === "held") return;
  if (fault.status === "cut") {
    context.respond = false;
    context.req.socket.destroy();
    return;
  }
  context.status = fault.status;
  context.body = { error: { type: "api_error", message: "Something went wrong on Stripe's end." } };
}

const formOf = (context: Context): Form => context.state.form as Form;
const param = (context: Context, name: string): string => String(context.params[name]);

async function readForm(context: Context): Promise<Form> {
  if (context.method !== "POST") return decodeForm(context.querystring);
  const body = await getRawBody(context.req, { limit: "1mb", encoding: "utf8" });
  return decodeForm(body);
}

function readNewSession(form: Form): NewSession {
  refuseUnknown(form, "", [
    "mode",
    "line_items",
    "success_url",
    "cancel_url",
    "client_reference_id",
    "customer",
    "customer_email",
    "metadata",
    "subscription_data",
    "expires_at",
    "expand",
  ]);
  if (form.mode === undefined) throw missingParameter("mode");
  if (form.mode !== "subscription") throw invalidParameter("mode", "This fake sells subscriptions only.");
  const items = form.line_items;
  const item = Array.isArray(items) ? items[0] : undefined;
  if (typeof item !== "object" || Array.isArray(item)) throw missingParameter("line_items");
  refuseUnknown(item, "line_items[0]", ["price", "quantity"]);
  const price = text(item.price);
  if (price === null) throw missingParameter("line_items[0][price]");
  const successUrl = text(form.success_url);
  if (successUrl === null) throw missingParameter("success_url");
  for (const field of ["success_url", "cancel_url"] as const) {
    const url = text(form[field]);
    if (url !== null && !URL.canParse(url)) throw invalidParameter(field, "Not a valid URL");
  }
  const reference = text(form.client_reference_id);
  if (reference !== null && reference.length > 200) {
    throw invalidParameter("client_reference_id", "Invalid string: must be at most 200 characters");
  }
  const data = form.subscription_data;
  const branch = typeof data === "object" && !Array.isArray(data) ? data : {};
  refuseUnknown(branch, "subscription_data", ["metadata", "description"]);
  const expiresAt = text(form.expires_at);
  return {
    price,
    quantity: Number(text(item.quantity) ?? 1),
    clientReferenceId: reference,
    customer: text(form.customer),
    customerEmail: text(form.customer_email),
    metadata: readMetadata(form.metadata, "metadata"),
    subscriptionMetadata: readMetadata(branch.metadata, "subscription_data[metadata]"),
    successUrl,
    cancelUrl: text(form.cancel_url),
    expiresAt: expiresAt === null ? null : Number(expiresAt),
  };
}

function refuseUnknown(form: Form, prefix: string, known: readonly string[]): void {
  const unknown = Object.keys(form).find((name) => !known.includes(name));
  if (unknown !== undefined) throw unknownParameter(prefix === "" ? unknown : `${prefix}[${unknown}]`);
}

function readMetadata(value: FormValue | undefined, name: string): Metadata {
  if (value === undefined) return {};
  if (typeof value === "string" || Array.isArray(value)) throw invalidParameter(name, "Invalid object");
  const entries = Object.entries(value);
  if (entries.length > 50) throw invalidParameter(name, "Metadata can have up to 50 keys");
  return Object.fromEntries(
    entries.map(([key, inner]) => {
      if (key.length > 40 || typeof inner !== "string" || inner.length > 500) {
        throw invalidParameter(`${name}[${key}]`, "Keys have up to 40 characters, values up to 500");
      }
      return [key, inner];
    }),
  );
}

const text = (value: FormValue | undefined): string | null => (typeof value === "string" ? value : null);

function expand(session: { id: string }, form: Form, account: Account): Record<string, unknown> {
  const wanted = Array.isArray(form.expand) ? form.expand : [];
  const other = wanted.find((field) => field !== "line_items");
  if (other !== undefined) throw invalidParameter("expand", `This property cannot be expanded (${other}).`);
  return wanted.length > 0 ? { ...session, line_items: account.lineItems(session.id) } : { ...session };
}

function found(things: ReadonlyMap<string, { id: string }>, kind: string, context: Context): unknown {
  const thing = things.get(param(context, "id"));
  if (!thing) throw missing(kind, param(context, "id"));
  return thing;
}

/** One page, newest first, with Stripe's cursors and `created[gt|gte|lt|lte]`. */
function page<T extends { id: string; created: number }>(
  context: Context,
  all: readonly T[],
  fits: (thing: T) => boolean,
): Record<string, unknown> {
  const form = formOf(context);
  const created = typeof form.created === "object" && !Array.isArray(form.created) ? form.created : {};
  const bound = (name: string) => (text(created[name]) === null ? null : Number(text(created[name])));
  const matching = all.filter(
    (thing) =>
      fits(thing) &&
      thing.created >= (bound("gte") ?? 0) &&
      thing.created > (bound("gt") ?? -1) &&
      thing.created <= (bound("lte") ?? Number.POSITIVE_INFINITY) &&
      thing.created < (bound("lt") ?? Number.POSITIVE_INFINITY),
  );
  const limit = Number(text(form.limit) ?? 10);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) {
    throw invalidParameter("limit", "This value must be between 1 and 100.");
  }
  const after = text(form.starting_after);
  const before = text(form.ending_before);
  const cursor = matching.findIndex((thing) => thing.id === (after ?? before));
  if ((after ?? before) !== null && cursor === -1) throw missing("object", after ?? before ?? "");
  const rest =
    after !== null ? matching.slice(cursor + 1) : before !== null ? matching.slice(0, cursor) : matching;
  // Towards newer objects the page is the one next to the cursor.
  const data = before !== null ? rest.slice(-limit) : rest.slice(0, limit);
  return { object: "list", data, has_more: rest.length > data.length, url: context.path };
}
