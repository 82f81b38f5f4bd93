/** The parameters of one call, read by name; what nobody asked for is refused, as Stripe does. */
import {
  type ApiError,
  invalidParameter,
  missingParameter,
  notModelled,
  refused,
  unknownParameter,
} from "../errors.ts";
import type { Form, FormValue } from "../form.ts";
import type { Metadata } from "../objects/wire.ts";

/** Source: Stripe's documentation of metadata. */
const metadataLimits = { keys: 50, keyLength: 40, valueLength: 500 };

export interface Range {
  readonly gte: number;
  readonly lte: number;
}

export class Parameters {
  readonly #form: Form;
  readonly #prefix: string;
  readonly #read = new Set<string>();
  readonly #parts: Parameters[] = [];

  /** `prefix` is the name of the branch that `form` is, as it was sent. */
  constructor(form: Form, prefix = "") {
    this.#form = form;
    this.#prefix = prefix;
  }

  /** Name as it was sent: `line_items[0][price]`. */
  name(name: string): string {
    return this.#prefix === "" ? name : `${this.#prefix}[${name}]`;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#form, name);
  }

  /** @throws ApiError when it is empty, longer than `max` characters, or no text. */
  text(name: string, { max = 5_000 }: { max?: number } = {}): string | null {
    const value = this.#take(name);
    if (value === undefined) return null;
    if (typeof value !== "string") throw this.#wrong(name, "Invalid string: must be a string");
    if (value === "") throw this.#empty(name);
    if (value.length > max) {
      throw this.#wrong(name, `Invalid string: ${value.slice(0, 6)}…; must be at most ${max} characters`);
    }
    return value;
  }

  required(name: string, limits: { max?: number } = {}): string {
    const value = this.text(name, limits);
    if (value === null) throw missingParameter(this.name(name));
    return value;
  }

  /** Whether it was sent empty, to unset what it names. */
  isUnset(name: string): boolean {
    if (this.#form[name] !== "") return false;
    this.#read.add(name);
    return true;
  }

  /** Undefined when it was not sent, null when it was sent empty. */
  clearable(name: string, limits: { max?: number } = {}): string | null | undefined {
    if (!this.has(name)) return undefined;
    return this.isUnset(name) ? null : this.text(name, limits);
  }

  url(name: string): string | null {
    const value = this.text(name);
    // Stripe fills in {CHECKOUT_SESSION_ID}; braces are no part of a URL.
    if (value !== null && !/^https?:/.test(URL.parse(value.replaceAll(/[{}]/g, ""))?.protocol ?? "")) {
      throw this.#wrong(name, "Not a valid URL", "url_invalid");
    }
    return value;
  }

  integer(name: string, { min, max }: { min: number; max: number }): number | null {
    const value = this.text(name);
    if (value === null) return null;
    const number = /^-?\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (Number.isNaN(number)) {
      throw this.#wrong(name, `Invalid integer: ${value.slice(0, 40)}`, "parameter_invalid_integer");
    }
    if (number < min) {
      throw this.#wrong(
        name,
        `This value must be greater than or equal to ${min}.`,
        "parameter_invalid_integer",
      );
    }
    if (number > max) {
      throw this.#wrong(
        name,
        `This value must be less than or equal to ${max}.`,
        "parameter_invalid_integer",
      );
    }
    return number;
  }

  boolean(name: string): boolean | null {
    const value = this.text(name);
    if (value === null) return null;
    if (value !== "true" && value !== "false") {
      throw this.#wrong(name, `Invalid boolean: ${value.slice(0, 40)}`);
    }
    return value === "true";
  }

  oneOf<Word extends string>(name: string, words: readonly Word[]): Word | null {
    const value = this.text(name);
    if (value === null) return null;
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) {
      const list =
        words.length > 1 ? `one of ${words.slice(0, -1).join(", ")}, or ${words.at(-1)}` : words[0];
      throw this.#wrong(name, `Invalid ${name}: must be ${list}`);
    }
    return word;
  }

  /** A branch: `subscription_data[…]`. */
  part(name: string): Parameters | null {
    const value = this.#take(name);
    if (value === undefined) return null;
    // A branch whose keys count is decoded as a list; no branch that we know has such keys.
    if (typeof value === "string" || Array.isArray(value)) throw this.#wrong(name, "Invalid object");
    const part = new Parameters(value, this.name(name));
    this.#parts.push(part);
    return part;
  }

  /** A list of branches: `line_items[0][…]`. */
  parts(name: string): Parameters[] | null {
    const value = this.#take(name);
    if (value === undefined) return null;
    if (!Array.isArray(value)) throw this.#wrong(name, "Invalid array");
    const parts = value.map((item, index) => {
      const at = `${this.name(name)}[${index}]`;
      if (typeof item === "string" || Array.isArray(item)) throw invalidParameter(at, "Invalid object");
      return new Parameters(item, at);
    });
    this.#parts.push(...parts);
    return parts;
  }

  texts(name: string, most = 100): string[] | null {
    const value = this.#take(name);
    if (value === undefined) return null;
    if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) {
      throw this.#wrong(name, "Invalid array");
    }
    if (value.length > most) {
      throw this.#wrong(name, `Array must have at most ${most} elements.`, "parameter_invalid_array");
    }
    return value as string[];
  }

  /** `created=…` or `created[gte]=…` and its like. */
  range(name: string): Range | null {
    if (!this.has(name)) return null;
    const bounds = { min: 0, max: 1e12 };
    if (typeof this.#form[name] === "string") {
      const exact = this.integer(name, bounds) ?? 0;
      return { gte: exact, lte: exact };
    }
    const part = this.part(name);
    const gt = part?.integer("gt", bounds) ?? null;
    const lt = part?.integer("lt", bounds) ?? null;
    return {
      gte: Math.max(part?.integer("gte", bounds) ?? 0, gt === null ? 0 : gt + 1),
      lte: Math.min(part?.integer("lte", bounds) ?? bounds.max, lt === null ? bounds.max : lt - 1),
    };
  }

  /** Keys and values that are checked; a value of null unsets the key. Null when none was sent. */
  #metadataChange(): Record<string, string | null> | null {
    if (!this.has("metadata")) return null;
    if (this.isUnset("metadata")) return {};
    const value = this.#take("metadata");
    // Keys 0, 1, 2 … are allowed; decoded they look like a list.
    const entries = typeof value === "string" ? null : Object.entries(value ?? {});
    if (!entries) throw this.#wrong("metadata", "Invalid object");
    return Object.fromEntries(
      entries.map(([key, inner]) => {
        const at = `${this.name("metadata")}[${key}]`;
        if (typeof inner !== "string") throw invalidParameter(at, "Invalid string: must be a string");
        if (key.length > metadataLimits.keyLength) {
          throw invalidParameter(
            at,
            `Metadata keys must be ${metadataLimits.keyLength} characters or less. The key ${key.slice(0, 8)}… has ${key.length}.`,
          );
        }
        if (inner.length > metadataLimits.valueLength) {
          throw invalidParameter(
            at,
            `Metadata values can have up to ${metadataLimits.valueLength} characters, but you passed in a value that is ${inner.length} characters. Invalid value: ${inner.slice(0, 20)}…`,
          );
        }
        return [key, inner === "" ? null : inner];
      }),
    );
  }

  /** `before` with what the call sets and unsets; an empty `metadata=` unsets all. */
  metadata(before: Metadata = {}): Metadata {
    const change = this.#metadataChange();
    if (change === null) return before;
    const kept = Object.keys(change).length === 0 ? {} : before;
    const entries = Object.entries({ ...kept, ...change }).filter(
      (entry): entry is [string, string] => entry[1] !== null,
    );
    if (entries.length > metadataLimits.keys) {
      throw this.#wrong("metadata", `Metadata can have up to ${metadataLimits.keys} keys.`);
    }
    return Object.fromEntries(entries);
  }

  /**
   * To be called before anything is changed. @throws ApiError for the first parameter that was not read: one that
   * Stripe documents (`documented`) but nothing here knows, else an unknown one.
   */
  done(documented: readonly string[] = []): void {
    const left = Object.keys(this.#form).find((name) => !this.#read.has(name));
    if (left !== undefined) {
      throw documented.includes(left) ? notModelled(this.name(left)) : unknownParameter(this.name(left));
    }
    for (const part of this.#parts) part.done(documented.flatMap((name) => inside(part, name)));
  }

  /** Exactly one of them must be given. */
  exactlyOne(names: readonly string[]): string {
    const given = names.filter((name) => this.has(name));
    if (given.length === 1 && given[0] !== undefined) return given[0];
    throw refused(
      given.length === 0
        ? `One of the following params should be provided for this request: ${names.join(" or ")}.`
        : `You may only specify one of these parameters: ${names.join(", ")}.`,
    );
  }

  #take(name: string): FormValue | undefined {
    this.#read.add(name);
    return Object.hasOwn(this.#form, name) ? this.#form[name] : undefined;
  }

  #empty(name: string): ApiError {
    const at = this.name(name);
    return invalidParameter(
      at,
      `You passed an empty string for '${at}'. We assume empty values are an attempt to unset a parameter; however '${at}' cannot be unset. You should remove '${at}' from your request or supply a non-empty value.`,
      "parameter_invalid_empty",
    );
  }

  #wrong(name: string, message: string, code?: string): ApiError {
    return invalidParameter(this.name(name), message, code);
  }
}

/** `line_items.price_data` is, inside any of `line_items`, `price_data`. */
function inside(part: Parameters, name: string): string[] {
  const [branch = "", ...rest] = name.split(".");
  return rest.length > 0 && part.name("").startsWith(`${branch}[`) ? [rest.join(".")] : [];
}
