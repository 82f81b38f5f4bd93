/**
 * `npm run mutate [-- IDS…] [--lanes 2]`: each mutation of list/ on a copy of the tree, with the tests that should
 * notice it. Exit 1 when one survives, cannot be applied, or when these tests fail without any mutation.
 */
import { parseArgs } from "node:util";
import { copyTree, type Tried } from "./mutate.ts";
import { mutations } from "./mutations.ts";

const { values, positionals } = parseArgs({
  options: { lanes: { type: "string", default: "2" } },
  allowPositionals: true,
});
const lanes = Number(values.lanes);
if (!Number.isSafeInteger(lanes) || lanes < 1)
  throw new Error(`--lanes=${values.lanes}: want a whole number from 1`);
const unknown = positionals.filter((id) => !mutations.some((mutation) => mutation.id === id));
if (unknown.length > 0)
  throw new Error(`no mutation is called ${unknown.join(", ")}; see tests/mutation/list/`);
const wanted = mutations.filter(({ id }) => positionals.length === 0 || positionals.includes(id));

const copies = Array.from({ length: Math.min(lanes, wanted.length) }, copyTree);
const results: Tried[] = [];
try {
  const [first] = copies;
  const all = [...new Set(wanted.flatMap(({ caughtBy }) => caughtBy))];
  const sound = await first?.tryOut(all, 30 * 60_000);
  if (sound?.verdict !== "survived") {
    console.log(`these tests fail without a mutation, so they prove nothing: ${sound?.by}`);
    process.exitCode = 1;
  } else {
    const queue = [...wanted];
    await Promise.all(
      copies.map(async (copy) => {
        for (let mutation = queue.shift(); mutation; mutation = queue.shift()) {
          const tried = await copy.tryMutation(mutation);
          results.push(tried);
          console.log(
            `${tried.verdict.padEnd(8)} ${mutation.id.padEnd(24)} ${tried.seconds.toFixed(0).padStart(4)} s  ${tried.by ?? mutation.why}`,
          );
        }
      }),
    );
    const caught = results.filter(({ verdict }) => verdict === "caught").length;
    console.log(`${caught} of ${wanted.length} mutations caught`);
    if (caught < wanted.length) process.exitCode = 1;
  }
} finally {
  for (const copy of copies) copy.remove();
}
