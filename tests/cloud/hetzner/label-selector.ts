import { invalidField } from "./http/errors.ts";

type Labels = Readonly<Record<string, string>>;
type Term = (labels: Labels) => boolean;

const key = "(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
const value = "(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?";
const present = new RegExp(`^(!?)\\s*(${key})$`);
const comparison = new RegExp(`^(${key})\\s*(==|!=|=)\\s*(${value})$`);
const membership = new RegExp(`^(${key})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const wholeValue = new RegExp(`^${value}$`);

const has = (labels: Labels, name: string) => Object.hasOwn(labels, name);

/**
 * The label selector language of Hetzner's API description: `k==v`, `k=v`, `k!=v`, `k`, `!k`, `k in (a,b)`,
 * `k notin (a,b)`, joined by commas that mean "and". As in Kubernetes, `!=` and `notin` also hold without the key.
 * @param field named by the 422 when the selector cannot be read.
 */
export function parseLabelSelector(selector: string, field = "label_selector"): Term {
  if (selector.trim() === "") return () => true;
  const terms = splitTerms(selector).map((text) => parseTerm(text.trim(), field));
  return (labels) => terms.every((term) => term(labels));
}

/** Splits at commas outside of parentheses. */
function splitTerms(selector: string): string[] {
  const terms: string[] = [];
  let depth = 0;
  let current = "";
  for (const character of selector) {
    if (character === "(") depth++;
    if (character === ")") depth--;
    if (character === "," && depth === 0) {
      terms.push(current);
      current = "";
    } else current += character;
  }
  return [...terms, current];
}

function parseTerm(text: string, field: string): Term {
  const [, not, single] = present.exec(text) ?? [];
  if (single !== undefined) return (labels) => has(labels, single) !== (not === "!");

  const [, left, operator, right] = comparison.exec(text) ?? [];
  if (left !== undefined) {
    if (operator === "!=") return (labels) => !has(labels, left) || labels[left] !== right;
    return (labels) => has(labels, left) && labels[left] === right;
  }

  const [, name, word, list] = membership.exec(text) ?? [];
  if (name !== undefined && list !== undefined) {
    const values = list.split(",").map((entry) => entry.trim());
    if (values.every((entry) => wholeValue.test(entry))) {
      const inside = (labels: Labels) => has(labels, name) && values.includes(labels[name] ?? "");
      return word === "in" ? inside : (labels) => !inside(labels);
    }
  }
  throw invalidField(field, `cannot read the label selector at '${text}'`);
}
