import { strict as assert } from "node:assert";
import { ChainCheck, canonicalJson } from "../../pool/store/audit-chain.ts";
import type { Store } from "../../pool/store/store.ts";

/** The chain is sound, and tells every change of state of every machine and order: each row goes on where the last ended. */
export function assertAudited(store: Store): void {
  const rows = store.auditRows({ limit: Number.MAX_SAFE_INTEGER });
  const chain = new ChainCheck(store.auditHead());
  const states = new Map<string, unknown>();
  for (const row of rows) {
    const { before, after, detail } = row;
    const text = (facts: object | null) => (facts ? canonicalJson(facts) : null);
    const stored = { ...row, before: text(before), after: text(after), detail: canonicalJson(detail) };
    assert.equal(chain.next(stored, null), null);
    if (after?.state === undefined) continue;
    assert.equal(before?.state, states.get(row.subject), `${row.subject} at row ${row.seq}`);
    states.set(row.subject, after.state);
  }
  assert.equal(chain.end(0), null);
  for (const { name, state } of store.machines()) assert.equal(states.get(name), state, name);
  for (const { id, state } of store.orders({ limit: Number.MAX_SAFE_INTEGER }))
    assert.equal(states.get(id), state, id);
}
