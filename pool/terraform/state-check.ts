/**
 * Whether a state file may be worked on. terraform believes whatever the file says: over a lost one it buys a second
 * server, over a stale or a foreign one it changes or deletes the wrong server. So each file is compared with what the
 * last run left behind before terraform is let near it. Pure.
 */
import type { StateSummary } from "./terraform.ts";

/** What the last run left in a stack's state. */
export interface KnownState {
  readonly lineage: string;
  readonly serial: number;
  readonly resources: number;
  readonly serverId: number | null;
}

/** What was read: null when there is no file, `unreadable` when it is not a state. */
export type FoundState = StateSummary | "unreadable" | null;

export type RefusedCode =
  | "state-missing"
  | "state-empty"
  | "state-unreadable"
  | "state-foreign"
  | "state-older"
  | "state-altered"
  | "state-other-server"
  | "state-lost-server"
  | "state-lost-resource";

export type StateVerdict =
  /** As the last run left it, or nothing was made and nothing is known. */
  | { readonly is: "as-known" }
  /** Newer than what is known (a run whose end nobody heard, a person's command): right when the cloud agrees. */
  | { readonly is: "ahead" }
  /** The server exists by our own record, and no state ever knew it. */
  | { readonly is: "unmanaged" }
  | { readonly is: "refused"; readonly code: RefusedCode; readonly why: string };

const refused = (code: RefusedCode, why: string): StateVerdict => ({ is: "refused", code, why });

/**
 * @param known what the last run left; null when none was recorded
 * @param serverId the server that the stack's machine has by our own record
 */
export function compareState(
  known: KnownState | null,
  found: FoundState,
  serverId: number | null,
): StateVerdict {
  const had = known !== null && known.resources > 0;
  if (found === "unreadable") return refused("state-unreadable", "it is not a terraform state");
  if (found === null || found.empty) {
    const what = found === null ? "the file is missing" : "the file is empty";
    if (had) return refused(found === null ? "state-missing" : "state-empty", what);
    return serverId === null ? { is: "as-known" } : { is: "unmanaged" };
  }
  if (found.serverId !== null && serverId !== null && found.serverId !== serverId) {
    return refused("state-other-server", `it is about server ${found.serverId}`);
  }
  if (known !== null && found.lineage === known.lineage) {
    if (found.serial < known.serial) return refused("state-older", `its serial is ${found.serial}`);
    if (found.serial > known.serial) return { is: "ahead" };
    if (found.resources !== known.resources || found.serverId !== known.serverId) {
      const server = found.serverId ?? "none";
      return refused("state-altered", `it has ${found.resources} resources, of server ${server}`);
    }
    return found.serverId === null && serverId !== null ? { is: "unmanaged" } : { is: "as-known" };
  }
  // A first state, or one that a run began anew because all that was known is that nothing was made.
  if (had) return refused("state-foreign", `its lineage is ${found.lineage}`);
  if (found.serverId === null) return serverId === null ? { is: "as-known" } : { is: "unmanaged" };
  return { is: "ahead" };
}

/** What was expected, in words. */
export function expectation(known: KnownState | null, serverId: number | null): string {
  if (known === null) return serverId === null ? "no server" : `server ${serverId}`;
  const { lineage, serial, resources } = known;
  const server = known.serverId === null ? "no server" : `server ${known.serverId}`;
  return `lineage ${lineage}, serial ${serial} or later, ${resources} resources, ${server}`;
}
