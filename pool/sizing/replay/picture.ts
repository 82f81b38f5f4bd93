/** What a replay looked like, half hour by half hour: a few lines for a terminal, or an SVG. */
import { dayMs, hourMs } from "../../clock.ts";
import type { SizingPolicy } from "../policy/policy.ts";
import { type Candidate, type Experiment, type Outcome, tryOut } from "./experiment.ts";

export interface Slot {
  /** Epoch ms. */
  readonly at: number;
  /** The most that was wanted, the fewest that were ready. */
  wanted: number;
  ready: number;
  claims: number;
  misses: number;
}

export const slotMs = hourMs / 2;
const slotsADay = dayMs / slotMs;

/** Takes notes of a replay while it runs. */
export class Recorder {
  readonly slots: Slot[] = [];
  readonly #from: number;

  /** @param from epoch ms at which the replay begins */
  constructor(from: number) {
    this.#from = Math.floor(from / dayMs) * dayMs;
  }

  record(candidate: Candidate, experiment: Experiment): Outcome {
    const policy = candidate.policy();
    const watched: SizingPolicy = {
      wanted: (situation) => policy.wanted(situation),
      claim: (claim) => {
        const slot = this.#slot(claim.at);
        slot.claims++;
        if (!claim.hit) slot.misses++;
        policy.claim(claim);
      },
    };
    return tryOut(candidate, experiment, {
      policy: watched,
      observe: (now, { target, ready }) => {
        const slot = this.#slot(now);
        slot.wanted = Math.max(slot.wanted, target);
        slot.ready = Math.min(slot.ready, ready);
      },
    });
  }

  #slot(now: number): Slot {
    const index = Math.floor((now - this.#from) / slotMs);
    while (this.slots.length <= index) {
      const at = this.#from + this.slots.length * slotMs;
      this.slots.push({ at, wanted: 0, ready: Number.POSITIVE_INFINITY, claims: 0, misses: 0 });
    }
    return this.slots[index] as Slot;
  }
}

const bars = "▁▂▃▄▅▆▇█";
const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/** The last `days` whole days (UTC), two lines each: what was wanted, what was ready. */
export function drawDays(slots: readonly Slot[], days: number): string {
  const first = Math.max(0, Math.floor(slots.length / slotsADay) - days) * slotsADay;
  const shown = slots.slice(first, Math.floor(slots.length / slotsADay) * slotsADay);
  const top = Math.max(1, ...shown.map(({ wanted, ready }) => Math.max(wanted, finite(ready))));
  const bar = (count: number) =>
    count <= 0 ? "·" : (bars[Math.ceil((count / top) * bars.length) - 1] ?? "█");
  const lines = [`${" ".repeat(22)}0           6           12          18           UTC; █ is ${top}`];
  for (let start = 0; start < shown.length; start += slotsADay) {
    const day = shown.slice(start, start + slotsADay);
    const at = new Date(day[0]?.at ?? 0);
    const claims = day.reduce((sum, slot) => sum + slot.claims, 0);
    const misses = day.reduce((sum, slot) => sum + slot.misses, 0);
    const label = `${weekdays[at.getUTCDay()]} ${at.toISOString().slice(0, 10)}`;
    lines.push(`${label} wanted ${day.map(({ wanted }) => bar(wanted)).join("")}  ${claims} claims`);
    const ready = day.map((slot) => (slot.misses > 0 ? "×" : bar(finite(slot.ready)))).join("");
    lines.push(
      `${" ".repeat(label.length)}  ready ${ready}  ${misses === 0 ? "" : `${misses} missed (×)`}`.trimEnd(),
    );
  }
  return lines.join("\n");
}

/** A step line of what was wanted over the area of what was ready; a red mark for each half hour with a miss. */
export function drawSvg(slots: readonly Slot[], title: string): string {
  const [width, height, margin] = [1_200, 300, 40];
  const top = Math.max(1, ...slots.map(({ wanted, ready }) => Math.max(wanted, finite(ready))));
  const x = (index: number) =>
    (margin + (index / Math.max(1, slots.length)) * (width - 2 * margin)).toFixed(1);
  const y = (count: number) => (height - margin - (count / top) * (height - 2 * margin)).toFixed(1);
  const line = (count: (slot: Slot) => number) =>
    slots.map((slot, index) => `H${x(index)}V${y(count(slot))}`).join("");
  const base = y(0);
  const marks = slots
    .flatMap(({ misses }, index) => (misses > 0 ? [`<circle cx="${x(index)}" cy="${base}" r="3"/>`] : []))
    .join("");
  const days = slots
    .flatMap(({ at }, index) =>
      at % dayMs === 0 && index % (slotsADay * Math.max(1, Math.ceil(slots.length / slotsADay / 14))) === 0
        ? [
            `<text x="${x(index)}" y="${height - margin / 3}">${new Date(at).toISOString().slice(0, 10)}</text>`,
          ]
        : [],
    )
    .join("");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">
<title>${escaped(title)}</title>
<text x="${margin}" y="20" font-size="14">${escaped(title)}</text>
<text x="4" y="${y(top)}">${top}</text><text x="4" y="${base}">0</text>
<path d="M${margin} ${base}${line(({ ready }) => finite(ready))}V${base}Z" fill="#bcd" stroke="none"/>
<path d="M${margin} ${base}${line(({ wanted }) => wanted)}" fill="none" stroke="#246" stroke-width="1.5"/>
<g fill="#c22">${marks}</g>
${days}
</svg>
`;
}

/** No decision fell into the half hour. */
const finite = (count: number): number => (Number.isFinite(count) ? count : 0);

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
