import type { FaultOrder } from "./schema.ts";

export interface ServerTraits {
  readonly name: string;
  readonly type: string;
  /** Null when the order leaves it to Hetzner. */
  readonly location: string | null;
}

/** What a fault is held against. */
export interface Subject {
  readonly project: number | null;
  readonly method?: string;
  /** Below /v1. */
  readonly path?: string;
  readonly query?: URLSearchParams;
  readonly body?: unknown;
  readonly command?: string;
  /** Null: it is about no server, or about one that nobody knows. */
  readonly server: ServerTraits | null;
}

/** All conditions hold; those that a fault does not name hold always. */
export function matches(fault: FaultOrder, subject: Subject): boolean {
  const { method, path, query, body, server, project, command } = fault;
  return (
    (method === undefined || method === subject.method) &&
    (path === undefined || pathMatches(path, subject.path ?? "")) &&
    Object.entries(query ?? {}).every(([key, value]) => subject.query?.getAll(key).includes(value)) &&
    Object.entries(body ?? {}).every(([field, wanted]) => {
      const given = at(subject.body, field);
      if (given === undefined || given === null) return false;
      return (Array.isArray(wanted) ? wanted : [wanted]).some((value) => String(value) === String(given));
    }) &&
    (server === undefined || serverMatches(server, subject.server)) &&
    (project === undefined || project === subject.project) &&
    (command === undefined || command === subject.command)
  );
}

function pathMatches(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const given = path.split("/");
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) => segment === "*" || segment === given[index])
  );
}

function serverMatches(wanted: NonNullable<FaultOrder["server"]>, server: ServerTraits | null): boolean {
  if (!server) return false;
  return (
    (wanted.name === undefined || nameMatches(wanted.name, server.name)) &&
    (wanted.type === undefined || wanted.type === server.type) &&
    (wanted.location === undefined || wanted.location === server.location)
  );
}

/** `*` is any text. Walks from star to star, so that no pattern takes more than linear steps for each piece. */
function nameMatches(pattern: string, name: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop();
  if (last === undefined) return name === pattern;
  if (!name.startsWith(first)) return false;
  let position = first.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, position);
    if (found === -1) return false;
    position = found + piece.length;
  }
  return name.length - last.length >= position && name.endsWith(last);
}

function at(body: unknown, field: string): unknown {
  let current = body;
  for (const key of field.split(".")) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<string, unknown>)[key];
  }
  return current;
}
