/** The sealed records beside the database: files of the world, which outlive a daemon and a database, on a disk that fails. */
import { machineFile, orderFile, type RecordFiles } from "../../../pool/recovery/records.ts";
import type { Installation } from "../daemon.ts";
import type { World } from "../world.ts";

const minute = 60_000;

/**
 * The files as one life of the daemon has them.
 *
 * @param life what it writes has its name at the end or never: nothing of a write comes behind its death
 */
export function simulatedRecordFiles(world: World, life: { readonly dead: boolean }): RecordFiles {
  const { records, chance, clock } = world;
  async function use(probability: number): Promise<void> {
    await clock.delay(chance.between(1, 20));
    if (!world.strikes(probability)) return;
    throw new Error("EIO: i/o error");
  }
  async function change(effect: () => void): Promise<void> {
    if (world.strikes(0.01)) world.diskFullUntil = clock.now() + chance.between(0, 5) * minute;
    await use(0.02);
    if (!world.calm && clock.now() < world.diskFullUntil) throw new Error("ENOSPC: no space left on device");
    if (!life.dead) effect();
  }
  return {
    async list() {
      await use(0.02);
      return [...records.keys()].sort();
    },
    async read(name) {
      await use(0.005);
      return records.get(name) ?? null;
    },
    write: (name, text) => change(() => records.set(name, text)),
    remove: (name) => change(() => records.delete(name)),
  };
}

/** Names of records that do not say what the store does, once nothing is being written. */
export function* outdatedRecords(
  { records }: Pick<World, "records">,
  { store, sealer }: Pick<Installation, "store" | "sealer">,
): Generator<string> {
  const told = (name: string) => {
    const text = records.get(name);
    return text && JSON.parse(sealer.open(JSON.parse(text).sealed, `record/${name}`));
  };
  for (const { name, state, stateSince, order, serverId, hostKey, held } of store.machines()) {
    const { machine } = told(machineFile(name)) ?? {};
    const isSame =
      machine?.state === state &&
      machine.stateSince === stateSince &&
      machine.order === order &&
      machine.serverId === serverId &&
      machine.hostKey === hostKey;
    if (held === null && (state === "destroyed" ? machine !== undefined : !isSame)) yield machineFile(name);
  }
  for (const { id, state, machine } of store.orders({ limit: 1_000 })) {
    const { order } = told(orderFile(id)) ?? {};
    const isClosed = state === "released" || state === "expired";
    const isSame = order?.state === state && order.machine === machine;
    if (isClosed ? order !== undefined : !isSame) yield orderFile(id);
  }
}
