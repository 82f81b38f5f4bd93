/** A store that comes back, or is rebuilt. */
import type { Mutation } from "../mutation.ts";

export const recovery: readonly Mutation[] = [
  {
    id: "keep-older-findings",
    file: "pool/store/recovery.ts",
    before: 'db.prepare("DELETE FROM setting WHERE key = ?").run(findingsSetting);',
    after: "void findingsSetting;",
    why: "what was found in an earlier quarantine is forgotten when another begins",
    caughtBy: ["recovery/quarantine"],
  },
  {
    id: "keep-released",
    file: "pool/store/recovery.ts",
    before: 'enterQuarantine: (why, { actor = "daemon", run = null } = {}) =>\n      context.write(() => {',
    after:
      'enterQuarantine: (why, { actor = "daemon", run = null } = {}) =>\n      context.write(() => {\n        if (readQuarantine(context)) return;',
    why: "a store that comes back in quarantine has every machine held anew",
    caughtBy: ["recovery/quarantine", "backup"],
  },
  {
    id: "count-anothers-as-a-miss",
    file: "pool/machine/another-order.ts",
    before: 'return error.code === "another-order" ||',
    after: 'return error.code === "nobody\'s" ||',
    why: "a machine that says that it has an order is held, not destroyed",
    caughtBy: ["machine/ready", "machine/hand-over.test.ts", "machine/lifecycle"],
  },
  {
    id: "keep-both-rivals",
    file: "pool/recovery/inspect.ts",
    before: "const still = settleRivals(held, free);",
    after: "void settleRivals, free;\n  const still = held;",
    why: "an order is left with one machine whatever the records say",
    caughtBy: ["recovery/inspect"],
  },
  {
    id: "believe-a-silent-hand-over",
    file: "pool/recovery/judge.ts",
    before: "if (isHandOver(machine)) return as({}, false,",
    after: "if (isHandOver(machine)) return as({}, true,",
    why: "a hand-over that may have been done is no hand-over to go on with",
    caughtBy: ["recovery/judge"],
  },
  {
    id: "hand-over-what-is-suspended",
    file: "pool/recovery/judge.ts",
    before: 'if (isHandOver(machine) && server.status === "off") {',
    after: 'if (isHandOver(machine) && server.status === "of") {',
    why: "a customer's machine that is switched off is kept",
    caughtBy: ["recovery/judge"],
  },
  {
    id: "resume-for-ever",
    file: "pool/recovery/release.ts",
    before: "return { deadline: now + deadlines.resumingMs };",
    after: "return { deadline: null };",
    why: "a machine that is switched on again is told when it does not come",
    caughtBy: ["recovery/release"],
  },
];
