/** What a trace's figures are held to. */
import { type Asked, type Row, rowNames } from "./rows.ts";

/** Idle hours a claim at 99, 99.5 and 99.9 %: the best of eight policies and their hindsight when the traces were chosen. */
const bars: Readonly<Record<string, readonly [number, number, number]>> = {
  "retail-orders": [0.558, 0.724, 1.072],
  "bank-calls-thinned": [0.179, 0.187, 0.254],
  "gpu-pods": [0.547, 0.652, 0.897],
  "domain-signups": [3.935, 4.886, 7.794],
  "jsorg-requests": [14.69, 17.43, 21.17],
  "mentions-spiky": [2.815, 3.802, 5.496],
};
/** At 99.9 %, where one was set beside the static number. */
const limits: Readonly<Record<string, number>> = { "retail-orders": 1.07, "bank-calls-thinned": 0.26 };

/** The price is found by misses: so many have to have been allowed before the share is that of the whole. */
export const claimsToFind = (share: number): number => Math.ceil(10 / share);

export interface Mark {
  readonly name: string;
  readonly passed: boolean;
  readonly said: string;
}

/** A share is that of a long time: within some weeks it is that of the season, and of a burst or two. */
export const longDays = 90;
export const isTooShort = (share: number, claims: number, days: number): boolean =>
  days < longDays || claims < claimsToFind(share);

/** Marks that need no bar hold for any trace. @param days that were scored */
export function marksOf(
  name: string,
  { rows, asked, days }: { rows: readonly Row[]; asked: readonly Asked[]; days: number },
): Mark[] {
  const cells = (row: string) => rows.find((each) => each.name === row)?.cells ?? [];
  const own = cells(rowNames.own);
  const others = [rowNames.static, rowNames.factor, rowNames.ewma, rowNames.season].map(cells);
  const marks: Mark[] = [];
  for (const [index, level] of ["99 %", "99.5 %"].entries()) {
    const theirs = others.flatMap((row) => row[index] ?? []);
    const bar = bars[name]?.[index] ?? (theirs.length > 0 ? Math.min(...theirs) : Number.POSITIVE_INFINITY);
    const idle = own[index] ?? Number.POSITIVE_INFINITY;
    const off = `${idle.toFixed(3)} against ${bar.toFixed(3)}, ${(100 * (idle / bar - 1)).toFixed(1)} %`;
    marks.push({ name: `(a) ${level}`, passed: idle <= 1.05 * bar, said: off });
  }
  const [fixed, idle] = [cells(rowNames.static)[2], own[2]];
  const limit = Math.min(
    limits[name] ?? Number.POSITIVE_INFINITY,
    1.05 * (fixed ?? Number.POSITIVE_INFINITY),
  );
  const said = `${idle?.toFixed(3) ?? "–"} against ${fixed?.toFixed(3) ?? "–"} of the best static number`;
  marks.push({ name: "(b) 99.9 %", passed: idle == null ? fixed == null : idle <= limit, said });
  // In between nothing was set.
  for (const { share, real, claims, isMissed } of asked.filter(
    ({ share }) => share > 0.009 || share < 0.002,
  )) {
    const [least, most] = share > 0.009 ? [0.9, 1.1] : [0, 1.5];
    const off = real / share;
    const few = isTooShort(share, claims, days);
    marks.push({
      name: `(c) asked ${Number((100 * share).toFixed(1))} %`,
      passed: few || (off >= least && off <= most),
      said: `${(100 * real).toFixed(3)} %${few ? ", with the warning that the history is too short" : isMissed ? ", with the warning that it is not reached" : ""}`,
    });
  }
  return marks;
}

/** Below the bar itself at 99 and at 99.5 %; null without a bar. */
export function isBelowBar(name: string, rows: readonly Row[]): boolean | null {
  const bar = bars[name];
  const own = rows.find((each) => each.name === rowNames.own)?.cells ?? [];
  return bar ? [0, 1].every((index) => (own[index] ?? Number.POSITIVE_INFINITY) < (bar[index] ?? 0)) : null;
}
