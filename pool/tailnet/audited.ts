/** A tailnet whose every writing call leaves an audit row, whoever makes it and however it ends. */
import { BorderError } from "../errors.ts";
import type { AuditFacts } from "../store/store.ts";
import type { Because, Tailnet } from "./tailnet.ts";

/** Keeps one row; the store's `audit` with the daemon as actor. */
export type AuditRecorder = (action: string, subject: string, facts: AuditFacts) => void;

export function auditedTailnet(tailnet: Tailnet, record: AuditRecorder): Tailnet {
  async function audited<Result>(
    action: string,
    { subject, why }: Because,
    facts: object,
    work: () => Promise<Result>,
    learned: (result: Result) => object = () => ({}),
  ): Promise<Result> {
    try {
      const result = await work();
      record(action, subject, { why, ok: true, ...facts, ...learned(result) });
      return result;
    } catch (error) {
      const code = error instanceof BorderError ? error.code : undefined;
      record(action, subject, { why, ok: false, ...facts, code, error: String(error) });
      throw error;
    }
  }

  return {
    device: (nodeId) => tailnet.device(nodeId),
    devices: (tag) => tailnet.devices(tag),
    authKeys: () => tailnet.authKeys(),
    mintKey: (options, because = { subject: "tailnet", why: options.description }) => {
      const { tags, expirySeconds, ephemeral = false } = options;
      const facts = { tags, expirySeconds, ephemeral };
      const mint = () => tailnet.mintKey(options);
      return audited("tailnet.mint-key", because, facts, mint, ({ id }) => ({ key: id }));
    },
    revokeKey: (id, because = { subject: "tailnet", why: "no longer wanted" }) =>
      audited("tailnet.revoke-key", because, { key: id }, () => tailnet.revokeKey(id)),
    deleteDevice: (node, because = { subject: "tailnet", why: "no longer wanted" }) =>
      audited("tailnet.delete-device", because, { node }, () => tailnet.deleteDevice(node)),
  };
}
