import { parseLabelSelector } from "../label-selector.ts";
import { invalidField } from "./errors.ts";
import type { Answer, ApiRequest } from "./router.ts";

/** Hetzner's API description, "Pagination": 25 entries a page, at most 50. */
const defaultPerPage = 25;
const maxPerPage = 50;

/** One list: what there is, how it is shown and by what it may be sorted. */
export interface Listing<T> {
  /** Key of the answer, e.g. `servers`. */
  readonly key: string;
  /** In the order of ids. */
  readonly entries: readonly T[];
  readonly present: (entry: T) => unknown;
  readonly sortable?: Readonly<Record<string, (entry: T) => string | number>>;
}

/** Answers a list request: sorted, cut into pages, with `meta.pagination` and the `Link` header. */
export function answerList<T>(request: ApiRequest, listing: Listing<T>): Answer {
  const sorted = sortEntries(request, listing);
  const page = positive(request, "page", 1);
  const perPage = Math.min(positive(request, "per_page", defaultPerPage), maxPerPage);
  const last = Math.max(1, Math.ceil(sorted.length / perPage));
  const pagination = {
    page,
    per_page: perPage,
    previous_page: page > 1 ? page - 1 : null,
    next_page: page < last ? page + 1 : null,
    last_page: last,
    total_entries: sorted.length,
  };
  const link = (relation: string, target: number | null) => {
    if (target === null) return [];
    const query = new URLSearchParams(request.query);
    query.set("page", String(target));
    return [`<https://api.hetzner.cloud/v1${request.path}?${query}>; rel="${relation}"`];
  };
  return {
    status: 200,
    body: {
      [listing.key]: sorted.slice((page - 1) * perPage, page * perPage).map(listing.present),
      meta: { pagination },
    },
    headers: {
      Link: [
        ...link("prev", pagination.previous_page),
        ...link("next", pagination.next_page),
        ...link("last", last),
      ].join(", "),
    },
  };
}

/** Keeps what `name` (exact) and `label_selector` let through. */
export function filterNamed<T extends { readonly name: string; readonly labels: Record<string, string> }>(
  request: ApiRequest,
  entries: readonly T[],
): T[] {
  const name = request.query.get("name");
  const selects = parseLabelSelector(request.query.get("label_selector") ?? "");
  return entries.filter((entry) => (name === null || entry.name === name) && selects(entry.labels));
}

/** Values of a parameter that may be repeated (any of them), held against what is allowed; null when absent. */
export function anyOf(request: ApiRequest, field: string, allowed?: readonly string[]): Set<string> | null {
  const values = request.query.getAll(field);
  const wrong = values.find((value) => allowed && !allowed.includes(value));
  if (wrong !== undefined) {
    throw invalidField(field, `'${wrong}' is not one of ${allowed?.join(", ")}`);
  }
  return values.length === 0 ? null : new Set(values);
}

/** Sort keys that nearly every kind has. */
export const byIdNameCreated = {
  id: (entry: { readonly id: number }) => entry.id,
  name: (entry: { readonly name: string }) => entry.name,
  created: (entry: { readonly created: number | string }) => entry.created,
};

function sortEntries<T>(request: ApiRequest, { entries, sortable = {} }: Listing<T>): readonly T[] {
  // Debian's hcloud-cli sorts every list; where the description has no `sort` it is one more unknown parameter.
  if (Object.keys(sortable).length === 0) return entries;
  const orders = request.query.getAll("sort").map((text) => {
    const [field = "", direction = "asc", ...rest] = text.split(":");
    const key = Object.hasOwn(sortable, field) ? sortable[field] : undefined;
    if (!key || rest.length > 0 || !["asc", "desc"].includes(direction)) {
      throw invalidField("sort", `cannot sort by '${text}'; known: ${Object.keys(sortable).join(", ")}`);
    }
    return { key, sign: direction === "asc" ? 1 : -1 };
  });
  if (orders.length === 0) return entries;
  return [...entries].sort((a, b) => {
    for (const { key, sign } of orders) {
      const [left, right] = [key(a), key(b)];
      if (left < right) return -sign;
      if (left > right) return sign;
    }
    return 0;
  });
}

function positive(request: ApiRequest, field: string, fallback: number): number {
  const text = request.query.get(field);
  if (text === null) return fallback;
  if (!/^[1-9][0-9]{0,9}$/.test(text)) throw invalidField(field, "must be a positive number");
  return Number(text);
}
