/** Quantiles, and the machine they were measured on. */
import { cpus, totalmem } from "node:os";

/** Nearest rank: with 50 values p99 is the largest. @param p 0-1 */
export function quantile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export interface Summary {
  readonly n: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

export const summary = (values: readonly number[]): Summary => ({
  n: values.length,
  p50: Math.round(quantile(values, 0.5)),
  p90: Math.round(quantile(values, 0.9)),
  p99: Math.round(quantile(values, 0.99)),
});

export function describeMachine(): string {
  const model = cpus()[0]?.model ?? "unknown CPU";
  return `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB; Node ${process.versions.node}`;
}

/** A Markdown table. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}
