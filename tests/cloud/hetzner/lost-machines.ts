import type { MachineBackend, MachineSpec } from "../machines/backend.ts";

/**
 * Machines live no longer than the backend object that made them, servers live in SQLite: after the death of the
 * process there are servers whose machine is lost. A backend refuses ids that it does not know, so what it made is
 * noted here, and a server without its machine can still be deleted (and stops being billed).
 */
const made = new WeakMap<MachineBackend, Set<number>>();

export async function createMachine(backend: MachineBackend, spec: MachineSpec): Promise<{ ipv4: string }> {
  const machine = await backend.create(spec);
  const ids = made.get(backend) ?? new Set();
  made.set(backend, ids.add(spec.id));
  return machine;
}

/** Does nothing when the machine is lost. */
export async function destroyMachine(backend: MachineBackend, id: number): Promise<void> {
  if (!made.get(backend)?.has(id)) return;
  await backend.destroy(id);
  made.get(backend)?.delete(id);
}
