import assert from "node:assert/strict";
import { noUsage } from "../machines/backend.ts";
import { type Reading, rateBetween } from "./resources/server-metrics.ts";
import { assertError, type Rig, startRig } from "./rig.ts";

const usage = (cpuSeconds: number) => ({ ...noUsage, cpuSeconds });

describe("Hetzner emulator: metrics of servers", () => {
  let rig: Rig;
  let id: number;
  beforeEach(async () => {
    rig = await startRig();
    id = (await rig.runningServer("m-1")).id;
  });
  afterEach(() => rig.close());

  const ask = (query: Record<string, string>) =>
    rig.call("GET", `/servers/${id}/metrics?${new URLSearchParams(query)}`);
  /** The minutes before now. */
  const last = (minutes: number, other: Record<string, string> = {}) => ({
    start: new Date(rig.clock.now() - minutes * 60_000).toISOString(),
    end: new Date(rig.clock.now()).toISOString(),
    ...other,
  });
  const seriesOf = async (query: Record<string, string>) => (await ask(query)).body.metrics.time_series;

  it("show what the machine's counters say, as rates", async () => {
    await ask(last(1, { type: "cpu" }));
    await rig.clock.advance(600_000);
    rig.backend.used(id, { cpuSeconds: 150, diskWrittenBytes: 6_000_000, networkInPackets: 1_200 });
    const series = await seriesOf(last(5, { type: "cpu,disk,network", step: "60" }));
    assert.equal(Object.keys(series).length, 9);
    const values = (name: string) => series[name]?.values.map(([, value]) => Number(value));
    // 150 s of 600 are a quarter of one core; the machine ran for a while before the first reading too.
    assert.deepEqual(values("cpu"), Array(6).fill(25));
    assert.deepEqual(values("disk.0.bandwidth.write"), Array(6).fill(10_000));
    assert.deepEqual(values("network.0.pps.in"), Array(6).fill(2));
    assert.deepEqual(values("disk.0.iops.read"), Array(6).fill(0));
  });

  it("know nothing from before the server and nothing of the future", async () => {
    const query = {
      type: "cpu",
      step: "60",
      start: new Date(rig.clock.now() - 3_600_000).toISOString(),
      end: new Date(rig.clock.now() + 3_600_000).toISOString(),
    };
    const times = (await seriesOf(query)).cpu?.values.map(([time]) => time * 1000) ?? [];
    assert.ok(times.length > 0);
    assert.ok(times.every((time) => time <= rig.clock.now() && time > rig.clock.now() - 120_000));
  });

  it("are zero for a server that is off", async () => {
    await rig.must("POST", `/servers/${id}/actions/poweroff`);
    await rig.clock.advance(10_000);
    await ask(last(1, { type: "cpu" }));
    await rig.clock.advance(600_000);
    const series = await seriesOf(last(5, { type: "cpu", step: "60" }));
    assert.deepEqual(new Set(series.cpu?.values.map(([, value]) => value)), new Set(["0"]));
  });

  it("have at most 200 samples unless a step is asked for, and never more than 500", async () => {
    await rig.clock.advance(24 * 3_600_000);
    const day = last(24 * 60 - 1, { type: "cpu" });
    const count = async (query: Record<string, string>) => (await seriesOf(query)).cpu?.values.length ?? 0;
    const unasked = await count(day);
    assert.ok(unasked > 150 && unasked <= 201, String(unasked));
    const many = await count({ ...day, step: "1" });
    assert.ok(many > 400 && many <= 501, String(many));
    assert.ok((await ask({ ...day, step: "1" })).body.metrics.step > 1);
  });

  it("name what is wrong with the question", async () => {
    assertError(await ask({}), 422, "invalid_input", "type", "start", "end");
    assertError(await ask(last(5, { type: "memory" })), 422, "invalid_input", "type");
    assertError(await ask(last(-5, { type: "cpu" })), 422, "invalid_input", "end");
    assertError(await ask(last(5, { type: "cpu", step: "-1" })), 422, "invalid_input", "step");
    assertError(await ask(last(5, { type: "cpu", start: "yesterday" })), 422, "invalid_input", "start");
  });

  it("count anew after a boot that fell between two readings", () => {
    const readings: Reading[] = [
      { at: 0, usage: usage(0) },
      { at: 10_000, usage: usage(5) },
      { at: 20_000, usage: usage(2) },
    ];
    assert.equal(rateBetween(readings, "cpuSeconds", 0, 10_000), 0.5);
    assert.equal(rateBetween(readings, "cpuSeconds", 10_000, 20_000), 0.2);
    assert.equal(rateBetween(readings, "cpuSeconds", 5_000, 15_000), 0.35);
    assert.equal(rateBetween(readings, "cpuSeconds", 20_000, 30_000), 0);
    assert.equal(rateBetween([], "cpuSeconds", 0, 1), 0);
  });
});
