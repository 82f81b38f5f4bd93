/** A thread that works through one trace. */

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { hourMs } from "../../../pool/clock.ts";
import { scoredFrom } from "../../../pool/sizing/replay/experiment.ts";
import { parseTrace } from "../../../pool/sizing/replay/trace.ts";
import { isBelowBar, type Mark, marksOf } from "./marks.ts";
import { type Asked, askedRows, hindsightRows, type Row, recordedOf } from "./rows.ts";
import { type Walked, walkedRows } from "./walk.ts";

export interface TraceReport {
  readonly name: string;
  readonly claims: number;
  /** That were scored. */
  readonly days: number;
  readonly rows: readonly Row[];
  readonly asked: readonly Asked[];
  /** Empty when it was not asked for. */
  readonly walked: readonly Walked[];
  readonly marks: readonly Mark[];
  readonly belowBar: boolean | null;
}

interface Work {
  readonly file: string;
  readonly choices: boolean;
}

function report({ file, choices }: Work): TraceReport {
  const name = basename(file, ".csv");
  const trace = parseTrace(readFileSync(file, "utf8"), file);
  const claims = trace.claims.filter((at) => at >= scoredFrom(trace)).length;
  const days = (trace.to - scoredFrom(trace)) / 24 / hourMs;
  const recorded = recordedOf(trace);
  const rows = hindsightRows(trace, recorded);
  const asked = askedRows(trace, recorded);
  const walked = choices ? walkedRows(trace, recorded) : [];
  const marks = marksOf(name, { rows, asked, days });
  return { name, claims, days, rows, asked, walked, marks, belowBar: isBelowBar(name, rows) };
}

parentPort?.postMessage(report(workerData));
