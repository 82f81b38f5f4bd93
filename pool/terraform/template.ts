/**
 * The text as a literal of terraform's JSON syntax, where `${` and `%{` begin a template in every string.
 * A `$` directly before an escaped `${` needs nothing: terraform takes only the last two together.
 */
export const literal = (text: string): string => text.replace(/[$%]\{/g, (start) => start[0] + start);

export function literals(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [literal(key), literal(value)]));
}

/** A reference to an attribute of another resource, as a plain string. */
export const reference = (path: string): string => `\${${path}}`;
