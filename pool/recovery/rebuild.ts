/** `clawpool recover`: a store where there is none, from everything but a store. */
import { mkdirSync, rmSync } from "node:fs";
import { terraformRoot } from "../borders.ts";
import { systemClock } from "../clock.ts";
import { createBudget } from "../cloud/budget.ts";
import { createCloud } from "../cloud/hetzner.ts";
import type { Config } from "../config/config.ts";
import { moveFile } from "../durable-file.ts";
import { createLog } from "../observe/log.ts";
import { systemRandom } from "../random.ts";
import { createSealer } from "../secrets/seal.ts";
import { createSsh } from "../ssh/ssh2.ts";
import type { AuditHead } from "../store/audit-chain.ts";
import { lockWithoutDaemon } from "../store/daemon-lease.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { inspectStore, storeFile } from "../store/store-file.ts";
import { noteWitness } from "../store/witness.ts";
import { createStripeGateway } from "../stripe/gateway.ts";
import { createTerraform } from "../terraform/create-terraform.ts";
import { type RecoveryStatus, recoveryStatus } from "./findings.ts";
import { inspect } from "./inspect.ts";
import { openRecordFiles } from "./record-files.ts";
import { createRecords } from "./records.ts";

/**
 * Nothing outside is changed, and nothing is written when something cannot be asked.
 *
 * @throws Error when there is a store, or a daemon runs; BorderError when the cloud or Stripe cannot be asked
 */
export async function rebuildStore(config: Config, actor: string): Promise<RecoveryStatus> {
  const { stateDir } = config;
  const file = storeFile(stateDir);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const unlock = lockWithoutDaemon(stateDir);
  if (!unlock) throw new Error(`a clawpool daemon runs on ${stateDir}; it has a store`);
  const draft = `${file}.rebuilt`;
  const clear = () => {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${draft}${suffix}`, { force: true });
  };
  try {
    if (inspectStore(file) === "whole") {
      throw new Error(
        `there is a store, ${file}, and it is whole; \`clawpool recover status\` says what is held`,
      );
    }
    clear();
    const { status, head } = await build(config, draft, actor);
    // An empty file, if one is there, goes with it.
    await moveFile(draft, file);
    // It is known to be another, and held: the daemon needs not find that out for itself.
    await noteWitness(stateDir, { auditHead: () => head });
    return status;
  } catch (error) {
    clear();
    throw error;
  } finally {
    unlock();
  }
}

async function build(
  config: Config,
  draft: string,
  actor: string,
): Promise<{ status: RecoveryStatus; head: AuditHead | null }> {
  const { stateDir, hetzner, stripe } = config;
  const clock = systemClock;
  const log = createLog("warn");
  const sealer = createSealer(config.sealingKeys);
  const store = openSqliteStore({ file: draft, sealer, clock });
  try {
    store.enterQuarantine("the database was lost", { actor });
    const budget = createBudget({ requestsPerHour: hetzner.requestsPerHour, clock });
    const context = {
      store,
      cloud: createCloud({ ...hetzner, budget, clock }),
      terraform: createTerraform({ root: terraformRoot(config), ...config.terraform, clock }),
      ssh: createSsh(),
      stripe: createStripeGateway({ ...stripe, clock }),
      records: createRecords({ store, sealer, files: openRecordFiles(stateDir), log }),
      config: () => config,
      clock,
      random: systemRandom,
      log,
    };
    await inspect(context, actor);
    return { status: recoveryStatus(store), head: store.auditHead() };
  } finally {
    // The last connection writes everything into the file.
    store.close();
  }
}
