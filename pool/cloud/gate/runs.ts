/** The runs that may speak to the gate: a token each, known only by its hash, dead when the run is closed. */
import { createHash, randomBytes } from "node:crypto";
import { Secret } from "../../secrets/secret.ts";
import type { GateRun, RunPermit } from "../cloud.ts";

export interface Run {
  readonly permit: RunPermit;
  asked: number;
  upstream: number;
}

export interface Runs {
  open(permit: RunPermit, endpoint: string): GateRun;
  /** The run of an `Authorization` header, null when none that is open has this token. */
  find(authorization: string | undefined): Run | null;
  closeAll(): void;
}

/** Hashed, so that looking a token up takes the same time however much of it is right. */
const digest = (token: string) => createHash("sha256").update(token).digest("base64");

export function createRuns(): Runs {
  const runs = new Map<string, Run>();
  return {
    open(permit, endpoint) {
      // The provider refuses a token that has not exactly 64 characters.
      const token = randomBytes(32).toString("hex");
      const run: Run = { permit, asked: 0, upstream: 0 };
      const key = digest(token);
      runs.set(key, run);
      return {
        endpoint,
        token: new Secret(token),
        counts: () => ({ upstream: run.upstream, asked: run.asked }),
        close: () => void runs.delete(key),
      };
    },
    find(authorization) {
      const token = /^Bearer ([0-9a-f]{64})$/.exec(authorization ?? "")?.[1];
      return token === undefined ? null : (runs.get(digest(token)) ?? null);
    },
    closeAll: () => runs.clear(),
  };
}
