/** A thread that works through one trace. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { hourMs } from "../../../pool/sizing/forecast/calendar.ts";
import { parseTrace } from "../../../pool/sizing/replay/trace.ts";
import { isBelowBar, type Mark, marksOf } from "./marks.ts";
import { type Asked, askedRows, hindsightRows, type Row, recordedOf } from "./rows.ts";
import { scoredFrom } from "./sweep.ts";

export interface TraceReport {
  readonly name: string;
  readonly claims: number;
  readonly perDay: number;
  readonly rows: readonly Row[];
  readonly asked: readonly Asked[];
  readonly marks: readonly Mark[];
  readonly belowBar: boolean | null;
}

function report(file: string): TraceReport {
  const name = basename(file, ".csv");
  const trace = parseTrace(readFileSync(file, "utf8"), file);
  const claims = trace.claims.filter((at) => at >= scoredFrom(trace)).length;
  const perDay = claims / ((trace.to - scoredFrom(trace)) / 24 / hourMs);
  const recorded = recordedOf(trace);
  const rows = hindsightRows(trace, recorded);
  const asked = askedRows(trace, recorded);
  const marks = marksOf(name, rows, asked);
  return { name, claims, perDay, rows, asked, marks, belowBar: isBelowBar(name, rows) };
}

parentPort?.postMessage(report(workerData));
