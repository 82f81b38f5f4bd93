/**
 * schemathesis makes requests up from Hetzner's API description and holds the answers against it. A longer run, on the
 * description itself with its examples:
 *
 *     CLAWPOOL_HETZNER_OPENAPI=cloud.spec.json CLAWPOOL_SCHEMATHESIS_SECONDS=600 npm test -- tests/cloud/clients/schemathesis.test.ts
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { routes } from "../hetzner/routes.ts";
import { type ClientRig, startClientRig } from "./rig.ts";
import { runSchemathesis } from "./schemathesis.ts";
import { ensurePythonClients } from "./tools.ts";

const { CLAWPOOL_SCHEMATHESIS_SECONDS: budget } = process.env;
const seconds = budget ? Number(budget) : null;

describe("Hetzner emulator: schemathesis", function () {
  // The first run on a machine fetches it; its budget holds between requests only.
  this.timeout(180_000 + (seconds ?? 0) * 3_000);
  let rig: ClientRig;
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "clawpool-schemathesis-"));
    rig = await startClientRig({ speed: 1_000_000, requestsPerHour: 1e9, serverLimit: 10_000 });
  });
  after(async () => {
    await rig?.close();
    await rm(dir, { recursive: true });
  });

  it("finds no server error and no answer that the description does not allow", async () => {
    const { bin } = await ensurePythonClients();
    const { exitCode, output, cases, operations } = await runSchemathesis(rig, { bin, dir, seconds });
    assert.equal(exitCode, 0, output);
    assert.equal(operations, routes.length, output);
    const statuses = rig.hetzner.calls().map(({ status }) => status ?? 0);
    assert.equal(statuses.filter((status) => status >= 500).length, 0);
    const succeeded = statuses.filter((status) => status < 300).length;
    console.log(`      ${cases} requests made up, ${succeeded} of them carried out`);
  });
});
