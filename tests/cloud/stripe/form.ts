/** Stripe's request bodies: `application/x-www-form-urlencoded` with `a[b][0][c]=v` for nesting. */

export type FormValue = string | FormValue[] | { [key: string]: FormValue };
export type Form = { [key: string]: FormValue };

/** Nothing that Stripe documents is nested deeper than this. */
const deepest = 10;
const most = 2_000;

/** The text is no form, or one that nobody would send. */
export class FormError extends Error {
  override readonly name = "FormError";
}

/**
 * Decodes a body or a query string. Lists come as `a[0]=…` and as `a[]=…`; a string where a branch is wanted wins.
 * @throws FormError
 */
export function decodeForm(text: string): Form {
  if (/%(?![0-9a-f]{2})/i.test(text)) throw new FormError("invalid %-encoding");
  const pairs = new URLSearchParams(text);
  if (pairs.size > most) throw new FormError("too many parameters");
  const root: Form = Object.create(null);
  for (const [name, value] of pairs) {
    const path = [
      name.replace(/\[.*$/s, ""),
      ...[...name.matchAll(/\[([^\]]*)\]/g)].map((match) => match[1] ?? ""),
    ];
    if (path.length > deepest) throw new FormError("nested too deeply");
    put(root, path, value);
  }
  return lists(root) as Form;
}

function put(branch: Form, path: readonly string[], value: string): void {
  const [first = "", ...rest] = path;
  const key = first === "" ? String(Object.keys(branch).length) : first;
  if (rest.length === 0) {
    branch[key] = value;
    return;
  }
  const next = branch[key];
  if (typeof next === "object" && !Array.isArray(next)) put(next, rest, value);
  else if (next === undefined) {
    const made: Form = Object.create(null);
    branch[key] = made;
    put(made, rest, value);
  }
}

/** Branches whose keys count 0, 1, 2 … become lists. */
function lists(value: FormValue): FormValue {
  if (typeof value === "string" || Array.isArray(value)) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, lists(inner)] as const);
  const counted = entries.length > 0 && entries.every(([key], index) => key === String(index));
  return counted ? entries.map(([, inner]) => inner) : Object.fromEntries(entries);
}
