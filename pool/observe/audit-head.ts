/** What the daemon itself leaves in the audit log, and the log's head where the store cannot take it back. */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Releasers } from "../releasers.ts";
import { canonicalJson, headText } from "../store/audit-chain.ts";
import type { Store } from "../store/store.ts";

/** Notes the head of the audit chain outside of the store: `clawpool audit verify --head …` compares with it later. */
export function logAuditHead(store: Pick<Store, "auditHead">, log: Pick<Logger, "info">): void {
  const head = store.auditHead();
  if (head) log.info({ head: headText(head) }, "audit head");
}

/**
 * A row for the start and one for the end, and the head in the log at both: a start without an end before it is a
 * daemon that died. To be called as soon as the store is open, so that the end is the store's last row.
 */
export function auditDaemon(
  store: Pick<Store, "audit" | "auditHead">,
  config: Config,
  log: Pick<Logger, "info">,
  releasers: Releasers,
): void {
  logAuditHead(store, log);
  // Tells whether the file was changed while no daemon ran. Secrets are the same text for all.
  const digest = createHash("sha256").update(canonicalJson(config)).digest("hex");
  store.audit("daemon", "daemon.started", config.instance, {
    why: "started",
    pid: process.pid,
    config: digest,
  });
  releasers.add("audit head", () => {
    store.audit("daemon", "daemon.stopped", config.instance, { why: "stopped in order", pid: process.pid });
    logAuditHead(store, log);
  });
}
