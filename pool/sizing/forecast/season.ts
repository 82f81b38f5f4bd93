/**
 * How the rate of claims runs through the week: one factor for each of its 168 hours, 1 on average. Learned from what
 * was seen, older weeks counting less, and shrunk to hour-of-day times day-of-week where a single hour of the week has
 * seen too little to say anything.
 */
import { dayMs, hourMs } from "../../clock.ts";
import type { Calendar } from "./calendar.ts";

const hoursOfWeek = 168;

/** After so many weeks an observation counts half: old enough to see a weekday five times, new enough to follow. */
const halfLifeWeeks = 5;
/** So many weeks of hour-of-day times day-of-week are mixed into each hour. */
const shrinkWeeks = 1;
/** An hour that never had a claim still gets this share of the average: it may. */
const floor = 0.02;

export class Season {
  readonly #calendar: Calendar;
  readonly #claims = new Float64Array(hoursOfWeek);
  /** Hours of observation by hour of the week. */
  readonly #seen = new Float64Array(hoursOfWeek);
  #factors = new Float64Array(hoursOfWeek).fill(1);
  #dayEnds = Number.NaN;

  constructor(calendar: Calendar) {
    this.#calendar = calendar;
  }

  /** Takes note of `claims` that came between two moments of the same hour of the week. */
  observe(from: number, to: number, claims: number): void {
    if (Number.isNaN(this.#dayEnds)) this.#dayEnds = from + dayMs;
    if (from >= this.#dayEnds) {
      const days = Math.floor((from - this.#dayEnds) / dayMs) + 1;
      this.#dayEnds += days * dayMs;
      this.#age(days);
      this.#learn();
    } else if (from < this.#dayEnds - 2 * dayMs) this.#dayEnds = from + dayMs;
    const { ofWeek } = this.#calendar.hour(from);
    this.#claims[ofWeek] = (this.#claims[ofWeek] ?? 0) + claims;
    this.#seen[ofWeek] = (this.#seen[ofWeek] ?? 0) + (to - from) / hourMs;
  }

  /** Between the middles of two hours it goes from one to the other: customers do not come at the stroke of the clock. */
  factor(at: number): number {
    const { ofWeek, until } = this.#calendar.hour(at);
    const own = this.#factors[ofWeek] ?? 1;
    // From -0.5 at the hour's begin to 0.5 at its end.
    const off = 0.5 - (until - at) / hourMs;
    const next = this.#factors[(ofWeek + (off < 0 ? hoursOfWeek - 1 : 1)) % hoursOfWeek] ?? own;
    return own + (next - own) * Math.abs(off);
  }

  /** The integral of the factor, in hours: what a span weighs in average hours. */
  weight(from: number, to: number): number {
    let weight = 0;
    for (let at = from; at < to; ) {
      const { until } = this.#calendar.hour(at);
      // Straight from here to the hour's middle or its end.
      const end = Math.min(at < until - hourMs / 2 ? until - hourMs / 2 : until, to);
      weight += (this.factor((at + end) / 2) * (end - at)) / hourMs;
      at = end;
    }
    return weight;
  }

  #age(days: number): void {
    const keep = 2 ** (-days / (7 * halfLifeWeeks));
    for (let hour = 0; hour < hoursOfWeek; hour++) {
      this.#claims[hour] = (this.#claims[hour] ?? 0) * keep;
      this.#seen[hour] = (this.#seen[hour] ?? 0) * keep;
    }
  }

  #learn(): void {
    const total = sum(this.#claims);
    if (total < 1e-9) return;
    const mean = total / sum(this.#seen);
    const [byHour, byDay] = [new Float64Array(24), new Float64Array(7)];
    const [seenByHour, seenByDay] = [new Float64Array(24), new Float64Array(7)];
    for (let hour = 0; hour < hoursOfWeek; hour++) {
      add(byHour, hour % 24, this.#claims[hour] ?? 0);
      add(seenByHour, hour % 24, this.#seen[hour] ?? 0);
      add(byDay, Math.floor(hour / 24), this.#claims[hour] ?? 0);
      add(seenByDay, Math.floor(hour / 24), this.#seen[hour] ?? 0);
    }
    // One average hour more for each, so that the first day says nothing about the six others.
    const part = (claims: Float64Array, seen: Float64Array, index: number) =>
      ((claims[index] ?? 0) + mean) / ((seen[index] ?? 0) + 1) / mean;
    const raw = Float64Array.from({ length: hoursOfWeek }, (_, hour) => {
      const usual =
        mean * part(byHour, seenByHour, hour % 24) * part(byDay, seenByDay, Math.floor(hour / 24));
      return ((this.#claims[hour] ?? 0) + shrinkWeeks * usual) / ((this.#seen[hour] ?? 0) + shrinkWeeks);
    });
    const smooth = raw.map((own, hour) => {
      const before = raw[(hour + hoursOfWeek - 1) % hoursOfWeek] ?? own;
      const after = raw[(hour + 1) % hoursOfWeek] ?? own;
      return Math.max(before / 4 + own / 2 + after / 4, floor * mean);
    });
    const scale = hoursOfWeek / sum(smooth);
    this.#factors = smooth.map((each) => each * scale);
  }
}

const sum = (values: Float64Array): number => values.reduce((total, each) => total + each, 0);

function add(values: Float64Array, index: number, by: number): void {
  values[index] = (values[index] ?? 0) + by;
}
