import type { MachineBackend, MachineSpec } from "../machines/backend.ts";

/**
 * Machines and snapshots live no longer than the backend object that made them, servers and images live in SQLite:
 * after the death of the process there are servers whose machine is lost. A backend refuses what it does not know, so
 * what it made is noted here, and a server without its machine can still be deleted (and stops being billed).
 */
interface Made {
  readonly machines: Set<number>;
  readonly snapshots: Set<string>;
}

const made = new WeakMap<MachineBackend, Made>();

function madeBy(backend: MachineBackend): Made {
  const known = made.get(backend) ?? { machines: new Set(), snapshots: new Set() };
  made.set(backend, known);
  return known;
}

export async function createMachine(backend: MachineBackend, spec: MachineSpec): Promise<{ ipv4: string }> {
  const machine = await backend.create(spec);
  madeBy(backend).machines.add(spec.id);
  return machine;
}

export const machineIsLost = (backend: MachineBackend, id: number) => !madeBy(backend).machines.has(id);

/** Does nothing when the machine is lost. */
export async function destroyMachine(backend: MachineBackend, id: number): Promise<void> {
  if (machineIsLost(backend, id)) return;
  await backend.destroy(id);
  madeBy(backend).machines.delete(id);
}

/** @returns the handle, and how many bytes of the disk are in use. */
export async function takeSnapshot(
  backend: MachineBackend,
  id: number,
): Promise<{ handle: string; bytes: number }> {
  const snapshot = await backend.snapshot(id);
  madeBy(backend).snapshots.add(snapshot.handle);
  return snapshot;
}

export const snapshotIsLost = (backend: MachineBackend, handle: string) =>
  !madeBy(backend).snapshots.has(handle);

/** Does nothing when the snapshot is lost. */
export async function deleteSnapshot(backend: MachineBackend, handle: string): Promise<void> {
  if (snapshotIsLost(backend, handle)) return;
  await backend.deleteSnapshot(handle);
  madeBy(backend).snapshots.delete(handle);
}
