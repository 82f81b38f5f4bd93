/** What sizing is compared with: what others do, each with the knob that its row sweeps. */
import { hourMs } from "../../../pool/clock.ts";
import type { Calendar } from "../../../pool/sizing/forecast/calendar.ts";
import { poisson, quantile } from "../../../pool/sizing/forecast/distributions.ts";
import { Season } from "../../../pool/sizing/forecast/season.ts";
import type { SizingPolicy } from "../../../pool/sizing/policy/policy.ts";

/** Another policy, never below a floor. */
export const atLeast = (floor: number, policy: SizingPolicy): SizingPolicy => ({
  claim: policy.claim,
  wanted(situation) {
    const { target, keep, why } = policy.wanted(situation);
    return { target: Math.max(floor, target), keep: Math.max(floor, keep), why };
  },
});

const why = { kind: "static" } as const;
const binMs = 300_000;

/** The quantile of a Poisson distribution around an exponentially weighted rate. */
export function ewmaPoisson(since: number, halfLifeMs: number, share: number): SizingPolicy {
  let [claims, hours, last] = [0, 0, since];
  const age = (now: number) => {
    const keep = 2 ** ((last - now) / halfLifeMs);
    claims *= keep;
    hours = hours * keep + (now - last) / hourMs;
    last = now;
  };
  return {
    claim({ at }) {
      age(at);
      claims++;
    },
    wanted({ now, leadMs }) {
      age(now);
      const rate = claims / Math.max(hours, 1);
      const target = quantile(poisson((rate * leadMs) / hourMs), share);
      return { target, keep: target, why };
    },
  };
}

/** The quantile of a Poisson distribution around the rate of the last week, shaped by the hours of the week. */
export function seasonalPoisson(calendar: Calendar, since: number, share: number): SizingPolicy {
  const season = new Season(calendar);
  const keep = 2 ** (-binMs / (7 * 24 * hourMs));
  let [bin, inBin, claims, weight] = [since, 0, 0, 0];
  const advance = (now: number) => {
    for (; now >= bin + binMs; bin += binMs, inBin = 0) {
      claims = claims * keep + inBin;
      weight = weight * keep + season.weight(bin, bin + binMs);
      season.observe(bin, bin + binMs, inBin);
    }
  };
  return {
    claim({ at }) {
      advance(at);
      inBin++;
    },
    wanted({ now, leadMs }) {
      advance(now);
      const mean = (claims / Math.max(weight, 1)) * season.weight(now, now + leadMs);
      const target = quantile(poisson(mean), share);
      return { target, keep: target, why };
    },
  };
}

/** The quantile of what the same hour of the last eight weeks saw within one lead time, its neighbours included. */
export function seasonalQuantile(since: number, share: number): SizingPolicy {
  const weekBins = (7 * 24 * hourMs) / binMs;
  const weeks = 8;
  const counts = new Uint16Array(weekBins * weeks);
  let bin = Math.floor(since / binMs);
  const first = bin;
  const at = (index: number) => counts[((index % counts.length) + counts.length) % counts.length] ?? 0;
  const advance = (now: number) => {
    for (; (bin + 1) * binMs <= now; ) counts[++bin % counts.length] = 0;
  };
  const known = { hour: Number.NaN, target: 0 };
  return {
    claim({ at: now }) {
      advance(now);
      counts[bin % counts.length] = at(bin) + 1;
    },
    wanted({ now }) {
      advance(now);
      const hour = Math.floor(now / hourMs);
      if (hour !== known.hour) Object.assign(known, { hour, target: sample(bin) });
      return { target: known.target, keep: known.target, why };
    },
  };

  function sample(now: number): number {
    const seen: number[] = [];
    for (let week = 1; week <= weeks - 1; week++) {
      for (let near = -12; near < 24; near++) {
        const index = now - week * weekBins + near;
        if (index >= first) seen.push(at(index) + at(index + 1));
      }
    }
    seen.sort((a, b) => a - b);
    return seen[Math.min(seen.length - 1, Math.floor(share * seen.length))] ?? 1;
  }
}
