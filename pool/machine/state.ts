/**
 * A machine's terraform state: looked at before each run, remembered after it. Over a lost state terraform would buy a
 * second server, over a stale or a foreign one it would change or delete the wrong one; so a file that is not what the
 * last run left is refused, and a person is told what to do (docs/terraform.md).
 */
import { BorderError } from "../errors.ts";
import { compareState, expectation, type FoundState, type StateVerdict } from "../terraform/state-check.ts";
import type { StateSummary } from "../terraform/terraform.ts";
import type { Machine } from "./machine.ts";
import type { StageContext } from "./stage.ts";

export const stateFlag = "terraform-state";

type States = Pick<StageContext, "store" | "terraform" | "cloud">;

/** A state that may be worked on; `unmanaged`: the row has a server that the state never knew. */
export interface UsableState {
  readonly state: StateSummary | null;
  readonly unmanaged: boolean;
}

/**
 * The machine's state, if a run may be made on it. One that is newer than what is remembered is looked at: what it says
 * of the server must be what the cloud says.
 *
 * @throws BorderError permanent with a code `state-…` after a person was told; the cloud's own when it was asked in vain
 */
export async function usableState(machine: Machine, context: States): Promise<UsableState> {
  const { store } = context;
  const found = await readState(machine, context);
  const verdict = await judgeState(machine, found, context);
  if (verdict.is === "refused") {
    const text = refusal(machine, verdict, context);
    store.flag(stateFlag, machine.name, text);
    throw new BorderError(text, { border: "terraform", kind: "permanent", code: verdict.code });
  }
  return taken(machine, found, verdict, context);
}

/**
 * For a machine that goes: a state that must not be used is put aside, since the server can be deleted by its id.
 * @throws BorderError as the cloud's, when it was asked in vain
 */
export async function usableOrAside(machine: Machine, context: States): Promise<UsableState> {
  const { store, terraform } = context;
  const found = await readState(machine, context);
  const verdict = await judgeState(machine, found, context);
  if (verdict.is !== "refused") return taken(machine, found, verdict, context);
  const what = `${terraform.stateFile(machine.name)}: ${verdict.why}`;
  const why = `${what}; expected ${expectation(store.terraformState(machine.name), machine.serverId)}`;
  store.audit("daemon", "terraform.state-refused", machine.name, { why, code: verdict.code });
  await terraform.replaceState(machine.name, null);
  store.rememberState(machine.name, null);
  return { state: null, unmanaged: machine.serverId !== null };
}

function taken(machine: Machine, found: FoundState, verdict: StateVerdict, context: States): UsableState {
  const { store } = context;
  if (store.flags().some(({ kind, subject }) => kind === stateFlag && subject === machine.name))
    store.clearFlag(stateFlag, machine.name, "its state is as it should be");
  const state = found === "unreadable" ? null : found;
  if (verdict.is === "ahead" && state) accept(machine, state, context);
  return { state, unmanaged: verdict.is === "unmanaged" };
}

/** What was found and what is known, compared; where that is not enough, with the cloud's word. */
export async function judgeState(
  machine: Machine,
  found: FoundState,
  { store, cloud }: States,
): Promise<StateVerdict> {
  const verdict = compareState(store.terraformState(machine.name), found, machine.serverId);
  if (verdict.is !== "ahead" || found === "unreadable" || found === null) return verdict;
  const asked = found.serverId ?? machine.serverId;
  const server = asked === null ? null : await cloud.server(asked);
  if (server === null) return verdict;
  if (server.name !== machine.name) {
    const why = `it is about server ${server.id}, which is named ${server.name}`;
    return { is: "refused", code: "state-other-server", why };
  }
  if (found.serverId !== null) return verdict;
  return {
    is: "refused",
    code: "state-lost-server",
    why: `it does not know server ${server.id}, which exists`,
  };
}

export async function readState(machine: Machine, { terraform }: Pick<States, "terraform">) {
  try {
    return await terraform.state(machine.name);
  } catch (error) {
    if (error instanceof BorderError && error.code === "state-unreadable") return "unreadable" as const;
    throw error;
  }
}

/** For people: which file, what is wrong, what was expected, what to do. */
export function refusal(
  machine: Machine,
  { why }: Extract<StateVerdict, { is: "refused" }>,
  { store, terraform }: Pick<States, "store" | "terraform">,
): string {
  const { name } = machine;
  const known = store.terraformState(name);
  const remedies = [
    ...(known ? [`\`clawpool state restore ${name}\` writes back what the last run left`] : []),
    ...(machine.serverId === null
      ? []
      : [`\`clawpool state import ${name}\` makes a new one from the server`]),
  ];
  return (
    `${terraform.stateFile(name)}: ${why}; expected ${expectation(known, machine.serverId)}. ` +
    `Terraform is not run on ${name} before that is settled: ${remedies.join("; ") || "look at the file"}`
  );
}

function accept(machine: Machine, state: StateSummary, { store }: Pick<States, "store">): void {
  const before = store.terraformState(machine.name);
  remember(machine, state, { store });
  store.audit("daemon", "terraform.state-accepted", machine.name, {
    why: "it is newer than what is remembered, and the cloud agrees",
    before: before && shown(before),
    after: shown(state),
  });
}

const shown = ({
  lineage,
  serial,
  resources,
  serverId,
}: Pick<StateSummary, "lineage" | "serial" | "resources" | "serverId">) => ({
  lineage,
  serial,
  resources,
  serverId,
});

function remember(machine: Machine, state: StateSummary, { store }: Pick<States, "store">): void {
  store.rememberState(machine.name, { ...shown(state), document: state.text });
}

/**
 * After a run, whatever became of it: what it left is what the next one must find. What does not continue the state that
 * the run was made on is not remembered, so that the next look refuses it.
 *
 * @param anew the run was to begin a new lineage (an import)
 */
export async function rememberState(
  machine: Machine,
  context: Pick<States, "store" | "terraform">,
  anew = false,
): Promise<void> {
  const { store } = context;
  const found = await readState(machine, context);
  if (found === null || found === "unreadable" || found.empty) return;
  const known = store.terraformState(machine.name);
  const goesOn =
    known === null ||
    known.resources === 0 ||
    anew ||
    (known.lineage === found.lineage && known.serial <= found.serial);
  if (goesOn && (known?.serial !== found.serial || known.lineage !== found.lineage))
    remember(machine, found, { store });
}
