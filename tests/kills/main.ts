/** `npm run kills -- [--times 1000] [--seed 1]`: SIGKILLs during webhook bursts; exit 1 when anything was lost or doubled. */
import { parseArgs } from "node:util";
import { pullThePlug } from "./kills.ts";

const { values } = parseArgs({
  options: { times: { type: "string", default: "1000" }, seed: { type: "string", default: "1" } },
});
const [times, seed] = (["times", "seed"] as const).map((name) => {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`--${name}=${values[name]}: want a whole number from 1`);
  return number;
});
const outcome = await pullThePlug({
  times: times ?? 1,
  seed: seed ?? 1,
  onKill: (done) => {
    if (done % 100 === 0) console.log(`${done} kills`);
  },
});
for (const line of [...outcome.lost, ...outcome.doubled]) console.log(line);
const { kills, inFlight, sent, acknowledged, lost, paid, claims, doubled, seconds } = outcome;
console.log(
  `${kills} SIGKILLs (${inFlight} with requests under way), ${sent} webhooks sent, ${acknowledged} events acknowledged, ` +
    `${lost.length} lost, ${paid} orders paid, ${claims} claimed, ${doubled.length} double claims, ${seconds.toFixed(0)} s`,
);
process.exitCode = lost.length + doubled.length > 0 ? 1 : 0;
