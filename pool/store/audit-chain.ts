/**
 * The chain that the audit rows form: each row's hash is SHA-256 over the hash of the row before it and the row itself
 * as canonical JSON (RFC 8785: sorted keys, no spaces), its number and time included. Who changes, removes, swaps or
 * inserts a row breaks the chain there. Nobody's key is in it: who rewrites everything from one row to the end makes a
 * sound chain again, and only a head that was noted elsewhere (the daemon's log, a backup) tells.
 */
import { hash } from "node:crypto";

/** A row as it is stored: `before`, `after` and `detail` are canonical JSON. */
export interface StoredAuditRow {
  readonly seq: number;
  /** Epoch ms. */
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly why: string;
  readonly run: string | null;
  readonly before: string | null;
  readonly after: string | null;
  readonly detail: string;
  /** 64 lower-case hex digits. */
  readonly hash: string;
}

/** Where a chain ends. */
export interface AuditHead {
  readonly seq: number;
  readonly hash: string;
}

/** What the first row follows. */
export const genesis = "0".repeat(64);

export const headText = ({ seq, hash }: AuditHead): string => `${seq}:${hash}`;

/**
 * Sorted keys, no spaces; what has a `toJSON` (a Secret, a date) gives that, what JSON does not know is left out. Halves
 * of surrogate pairs, which UTF-8 cannot hold and other programs refuse, become U+FFFD.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.toWellFormed());
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if ("toJSON" in value && typeof value.toJSON === "function") return canonicalJson(value.toJSON());
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`;
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[key];
    if (member === undefined || typeof member === "function" || typeof member === "symbol") continue;
    members.push(`${canonicalJson(key)}:${canonicalJson(member)}`);
  }
  return `{${members.join()}}`;
}

/**
 * The row as canonical JSON. What is JSON already goes in as the text that is stored, so that no changed byte of it is
 * overlooked; `isJson` must hold for it, or two rows could have one text.
 */
export function rowText(row: Omit<StoredAuditRow, "hash">): string {
  const text = (value: string | null) => (value === null ? "null" : JSON.stringify(value));
  return (
    `{"action":${text(row.action)},"actor":${text(row.actor)},"after":${row.after ?? "null"},"at":${row.at},` +
    `"before":${row.before ?? "null"},"detail":${row.detail},"run":${text(row.run)},"seq":${row.seq},` +
    `"subject":${text(row.subject)},"why":${text(row.why)}}`
  );
}

export const rowHash = (previous: string, row: Omit<StoredAuditRow, "hash">): string =>
  hash("sha256", previous + rowText(row), "hex");

export interface AuditFinding {
  readonly kind: "edited" | "removed" | "inserted" | "truncated" | "rewritten" | "unguarded";
  /** The first row that is wrong or missing; null when the row is not the matter. */
  readonly seq: number | null;
  /** In words, for a person. */
  readonly text: string;
}

/**
 * Follows a chain row by row and stops at the first that is wrong. Give it each row in the order of `seq`, together with
 * the row after it (null for the last): whether that one still follows tells an insertion from an edit.
 */
export class ChainCheck {
  #last: AuditHead = { seq: 0, hash: genesis };
  readonly #recorded: AuditHead | null;

  /** @param recorded a head that was noted earlier and must still be part of the chain */
  constructor(recorded: AuditHead | null = null) {
    this.#recorded = recorded;
  }

  /** The last row that was found good. */
  get head(): AuditHead {
    return this.#last;
  }

  next(row: StoredAuditRow, following: StoredAuditRow | null): AuditFinding | null {
    const { seq, hash } = this.#last;
    const wanted = seq + 1;
    if (row.seq < wanted)
      return found("inserted", row.seq, `row ${row.seq} was inserted: rows are numbered from 1`);
    if (row.seq > wanted) {
      const last = row.seq - 1;
      const rows = last === wanted ? `row ${wanted} was` : `rows ${wanted} to ${last} were`;
      return found("removed", wanted, `${rows} removed: the next is row ${row.seq}`);
    }
    if (!follows(hash, row)) {
      if (following && follows(hash, { ...following, seq: row.seq })) {
        return found("inserted", row.seq, `row ${row.seq} was inserted: the row behind it is the true one`);
      }
      const alone = following === null || follows(row.hash, following);
      const doubt = alone ? "" : ` (or row ${seq} was, together with its hash)`;
      return found(
        "edited",
        row.seq,
        `row ${row.seq} was edited or moved${seq > 0 ? doubt : ""}: its hash does not fit`,
      );
    }
    this.#last = { seq: row.seq, hash: row.hash };
    const { seq: at, hash: was } = this.#recorded ?? this.#last;
    if (at === row.seq && was !== row.hash) {
      const text = `row ${at} has another hash than was recorded: rows up to ${at} were rewritten, hashes and all`;
      return found("rewritten", at, text);
    }
    return null;
  }

  /** @param numbered the highest number that was ever given to a row, as the database remembers it */
  end(numbered: number): AuditFinding | null {
    const { seq } = this.#last;
    const known = Math.max(numbered, this.#recorded?.seq ?? 0);
    if (known <= seq) return null;
    const by =
      known === this.#recorded?.seq ? "was recorded as the head" : "is the last number that was given";
    return found("truncated", seq + 1, `truncated: the last row is ${seq}, but ${known} ${by}`);
  }
}

const found = (kind: AuditFinding["kind"], seq: number, text: string): AuditFinding => ({ kind, seq, text });

const follows = (previous: string, row: StoredAuditRow): boolean =>
  [row.before ?? "null", row.after ?? "null", row.detail].every(isJson) &&
  rowHash(previous, row) === row.hash;

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
