/**
 * `npm test`: every *.test.ts below tests/ in one mocha run, then one closing line `N passed, N failed`.
 * Arguments name files or folders; none means all. With CI=true a skipped test counts as failed.
 */
import { strict as assert } from "node:assert";
import { globSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import Mocha from "mocha";
import { removeDeadRigs, removeOwnRigs } from "./cloud/machines/nspawn/registry.ts";

const here = dirname(fileURLToPath(import.meta.url));
const wanted = process.argv.slice(2).map((path) => relative(here, join(process.cwd(), path)));
const files = globSync("**/*.test.ts", { cwd: here })
  .filter((file) => wanted.length === 0 || wanted.some((path) => path === "" || file.startsWith(path)))
  // Quick suites first, so that a broken unit is seen before minutes of end-to-end tests.
  .sort((a, b) => weight(a) - weight(b) || a.localeCompare(b));

/** Folders whose tests take minutes, the longest last. */
function weight(file: string): number {
  return ["cloud", "faults", "soak", "e2e"].indexOf(file.split("/")[0] ?? "");
}

/** Suites that take less are not named at the end. */
const tellFromSeconds = 1;

/** How long the process may go on after the last test. */
const patienceMs = 30_000;

const mocha = new Mocha({ timeout: 30_000, reporter: "spec", color: process.stdout.isTTY });
mocha.rootHooks({
  // What a killed run left takes up to a minute to remove: no suite's own deadline should pay for it.
  async beforeAll(this: Mocha.Context) {
    this.timeout(600_000);
    for (const id of await removeDeadRigs()) console.log(`removed what the dead local cloud ${id} left`);
  },
  async afterAll(this: Mocha.Context) {
    this.timeout(120_000);
    if (process.platform === "linux")
      assert.deepEqual(await removeOwnRigs(), [], "local clouds left running");
  },
});
for (const file of files) mocha.addFile(join(here, file));
await mocha.loadFilesAsync();

const tally = { passed: 0, failed: 0, skipped: 0 };
const strict = process.env.CI === "true";
const times: { suite: string; seconds: number }[] = [];
const begun = new Map<Mocha.Suite, number>();
mocha
  .run()
  .on("suite", (suite) => begun.set(suite, performance.now()))
  .on("suite end", (suite) => {
    if (!suite.parent?.root) return;
    const seconds = (performance.now() - (begun.get(suite) ?? 0)) / 1_000;
    if (seconds >= tellFromSeconds) times.push({ suite: suite.title, seconds });
  })
  .on("pass", () => tally.passed++)
  .on("fail", () => tally.failed++)
  .on("pending", (test) => {
    tally.skipped++;
    if (strict) console.log(`SKIPPED in CI, which is a failure: ${test.fullTitle()}`);
  })
  .on("end", () => {
    for (const { suite, seconds } of times.sort((a, b) => b.seconds - a.seconds))
      console.log(`${seconds.toFixed(1).padStart(7)} s  ${suite}`);
    if (files.length === 0) console.log(`no test file matches ${process.argv.slice(2).join(" ")}`);
    const failed = tally.failed + (strict ? tally.skipped : 0);
    const skipped = !strict && tally.skipped > 0 ? `, ${tally.skipped} skipped` : "";
    console.log(`${tally.passed} passed, ${failed} failed${skipped}`);
    // Not process.exit at once: a handle that somebody forgot to close is a fault, and must show as one.
    process.exitCode = failed > 0 || files.length === 0 ? 1 : 0;
    setTimeout(() => {
      console.log(`the tests are over, but still open: ${process.getActiveResourcesInfo().join(", ")}`);
      console.log(`${tally.passed} passed, ${failed + 1} failed${skipped}`);
      process.exit(1);
    }, patienceMs).unref();
  });
