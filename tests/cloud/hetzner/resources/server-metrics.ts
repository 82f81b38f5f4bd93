import { type MachineUsage, noUsage } from "../../machines/backend.ts";
import type { Context } from "../context.ts";
import { invalidInput } from "../http/errors.ts";
import type { ApiRequest, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { machineIsLost } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { fromPath } from "./lookup.ts";

/** What the machine's counters said at one time; zero when it was switched on. */
export interface Reading {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly usage: MachineUsage;
}

interface Series {
  readonly counter: keyof MachineUsage;
  /** From units of the counter a second to units of the API. */
  readonly factor: number;
}

const perSecond = (counter: keyof MachineUsage): Series => ({ counter, factor: 1 });

/** Names and units as in Hetzner's API description, "Get Metrics for a Server". */
const seriesOf: Readonly<Record<string, Readonly<Record<string, Series>>>> = {
  cpu: { cpu: { counter: "cpuSeconds", factor: 100 } },
  disk: {
    "disk.0.iops.read": perSecond("diskReadOperations"),
    "disk.0.iops.write": perSecond("diskWriteOperations"),
    "disk.0.bandwidth.read": perSecond("diskReadBytes"),
    "disk.0.bandwidth.write": perSecond("diskWrittenBytes"),
  },
  network: {
    "network.0.pps.in": perSecond("networkInPackets"),
    "network.0.pps.out": perSecond("networkOutPackets"),
    "network.0.bandwidth.in": perSecond("networkInBytes"),
    "network.0.bandwidth.out": perSecond("networkOutBytes"),
  },
};

/** Without a step the description promises at most 200 samples, with one at most 500. */
const samplesUnasked = 200;
const maxSamples = 500;

interface Query {
  readonly types: readonly string[];
  readonly start: number;
  readonly end: number;
  /** Seconds. */
  readonly step: number;
}

/** RFC 3339. */
const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i;

/** @throws ApiError 422 that names every wrong parameter */
function readQuery({ query }: ApiRequest): Query {
  const wrong: { name: string; messages: string[] }[] = [];
  const complain = (name: string, message: string) => wrong.push({ name, messages: [message] });
  const time = (name: string) => {
    const text = query.get(name) ?? "";
    const millis = instant.test(text) ? Date.parse(text) : Number.NaN;
    if (Number.isNaN(millis)) complain(name, "must be a time in RFC 3339 format");
    return millis;
  };
  const types = [...new Set(query.getAll("type").flatMap((text) => text.split(",")))];
  if (types.length === 0 || types.some((type) => !Object.hasOwn(seriesOf, type))) {
    complain("type", `must be of ${Object.keys(seriesOf).join(", ")}`);
  }
  const [start, end] = [time("start"), time("end")];
  if (end <= start) complain("end", "must be after start");
  const step = query.get("step");
  if (step !== null && !(/^\d+(\.\d+)?$/.test(step) && Number(step) > 0)) {
    complain("step", "must be a positive number of seconds");
  }
  if (wrong.length > 0) throw invalidInput(wrong);
  const seconds = (end - start) / 1000;
  const wanted = step === null ? Math.ceil(seconds / samplesUnasked) : Number(step);
  return { types, start, end, step: Math.max(wanted, seconds / maxSamples) };
}

/**
 * The rate of a counter over (from, to], in units a second: the average between the readings around it. Counters begin
 * at zero with every boot, so where one falls it has grown from zero. Nothing is known beyond the last reading.
 */
export function rateBetween(
  readings: readonly Reading[],
  counter: keyof MachineUsage,
  from: number,
  to: number,
): number {
  let grown = 0;
  for (const [index, after] of readings.entries()) {
    const before = readings[index - 1];
    if (!before) continue;
    const [low, high] = [Math.max(from, before.at), Math.min(to, after.at)];
    if (high <= low) continue;
    const rise = after.usage[counter] - before.usage[counter];
    const growth = rise < 0 ? after.usage[counter] : rise;
    grown += (growth * (high - low)) / (after.at - before.at);
  }
  return (1000 * grown) / (to - from);
}

/** Of each server since the emulator began, by the backend: readings are worth nothing without their machines. */
const readingsOf = new WeakMap<Context["backend"], Map<number, Reading[]>>();

/** Asks the machine once more and returns all that is known of it. A machine that is off uses nothing. */
async function read({ backend, clock }: Context, server: Stored<"server">): Promise<readonly Reading[]> {
  const known = readingsOf.get(backend) ?? new Map<number, Reading[]>();
  readingsOf.set(backend, known);
  const readings = known.get(server.id) ?? [];
  known.set(server.id, readings);
  const usage = machineIsLost(backend, server.id) ? null : await backend.usage(server.id);
  const last = readings.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
  if (server.bootedAt !== null && server.bootedAt > last) {
    readings.push({ at: server.bootedAt, usage: noUsage });
  }
  const now = clock.now();
  if (now > (readings.at(-1)?.at ?? 0)) readings.push({ at: now, usage: usage ?? noUsage });
  return readings;
}

export const metricsRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/servers/{id}/metrics",
    handle: async (context, request) => {
      const server = fromPath(context, request, "server");
      const { types, start, end, step } = readQuery(request);
      const readings = await read(context, server);
      const times: number[] = [];
      const until = Math.min(end, context.clock.now());
      for (let at = start; at <= until; at += step * 1000) if (at >= server.created) times.push(at);
      const series = types.flatMap((type) => Object.entries(seriesOf[type] ?? {}));
      return {
        status: 200,
        body: {
          metrics: {
            start: timestamp(start),
            end: timestamp(end),
            step,
            time_series: Object.fromEntries(
              series.map(([name, { counter, factor }]) => [
                name,
                {
                  values: times.map((at) => [
                    at / 1000,
                    String(factor * rateBetween(readings, counter, at - step * 1000, at)),
                  ]),
                },
              ]),
            ),
          },
        },
      };
    },
  },
];
