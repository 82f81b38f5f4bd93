/** Recorded claims as a file: CSV with the header `t,count`, `t` in Unix seconds. */
import type { CheckoutRecord } from "./checkouts.ts";

export interface Trace {
  /** Epoch ms of each claim, ascending. */
  readonly claims: Float64Array;
  /** Epoch ms of the first and the last row: the span that was observed. */
  readonly from: number;
  readonly to: number;
  /** Of own history; a file tells of none. */
  readonly checkouts?: CheckoutRecord;
  /** What was unusual about the file and how it was taken. */
  readonly notes: readonly string[];
}

export class TraceError extends Error {
  override readonly name = "TraceError";
}

/** What a replay can still be asked for: more claims than a pool of any size here could serve. */
const mostClaims = 10_000_000;

/**
 * Reads a trace. Rows in another order are sorted and rows of the same second added up, both with a note; rows without
 * claims mark that somebody watched.
 *
 * @throws TraceError that names the line and what is wanted there
 */
export function parseTrace(text: string, file: string): Trace {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const wrong = (line: number, what: string): never => {
    throw new TraceError(`${file}, line ${line}: ${what}`);
  };
  const header = lines[0]?.trim().toLowerCase();
  if (header !== "t,count") wrong(1, `want the header "t,count", not ${JSON.stringify(lines[0] ?? "")}`);
  const rows: { t: number; count: number }[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === "") continue;
    const fields = line.split(",");
    if (fields.length !== 2) wrong(index + 1, `want two fields "t,count", not ${JSON.stringify(line)}`);
    const [t, count] = fields.map((field) => (field.trim() === "" ? Number.NaN : Number(field)));
    if (t === undefined || !Number.isFinite(t) || Math.abs(t) > 8.64e12) {
      wrong(index + 1, `t: want Unix seconds, not ${JSON.stringify(fields[0])}`);
    } else if (count === undefined || !Number.isSafeInteger(count) || count < 0) {
      wrong(index + 1, `count: want a whole number of claims, 0 or more, not ${JSON.stringify(fields[1])}`);
    } else rows.push({ t, count });
  }
  return toTrace(rows, file);
}

function toTrace(rows: { t: number; count: number }[], file: string): Trace {
  const notes: string[] = [];
  if (rows.some(({ t }, index) => t < (rows[index - 1]?.t ?? t))) {
    notes.push("the rows were not in the order of time; they were sorted");
    rows.sort((a, b) => a.t - b.t);
  }
  const doubled = rows.filter(({ t }, index) => t === rows[index - 1]?.t).length;
  if (doubled > 0) notes.push(`${doubled} rows repeat a second; their claims were added up`);
  const [first, last] = [rows[0], rows.at(-1)];
  if (!first || !last || first.t === last.t) {
    throw new TraceError(`${file} spans no time: want at least two rows at different seconds`);
  }
  const gap = longestGap(rows);
  if (gap) {
    const days = Math.round((gap.to - gap.from) / daySeconds);
    const day = new Date(gap.from * 1_000).toISOString().slice(0, 10);
    notes.push(
      `nobody came for ${days} days from ${day} on; if nobody recorded then, cut the file there: it counts as a time without customers`,
    );
  }
  const total = rows.reduce((sum, { count }) => sum + count, 0);
  if (total > mostClaims)
    throw new TraceError(`${file} has ${total} claims; at most ${mostClaims} are replayed`);
  const claims = new Float64Array(total);
  let place = 0;
  for (const { t, count } of rows) for (let claim = 0; claim < count; claim++) claims[place++] = t * 1_000;
  return { claims, from: first.t * 1_000, to: last.t * 1_000, notes };
}

const daySeconds = 86_400;

/** The longest time without a row, when it is days and far beyond the usual: a shop that was closed, or a lost record. */
function longestGap(rows: readonly { readonly t: number }[]): { from: number; to: number } | null {
  const first = rows[0]?.t ?? 0;
  const usual = ((rows.at(-1)?.t ?? first) - first) / Math.max(1, rows.length - 1);
  let longest = { from: first, to: first };
  for (const [index, { t }] of rows.entries()) {
    const from = rows[index - 1]?.t ?? t;
    if (t - from > longest.to - longest.from) longest = { from, to: t };
  }
  return longest.to - longest.from > Math.max(3 * daySeconds, 30 * usual) ? longest : null;
}
