import { z } from "zod";
import type { MachineBackend, VolumeSpec } from "../../machines/backend.ts";

/** "The minimum Volume size is 10GB and the maximum size is 10TB (10240GB)" (Hetzner's API description). */
export const sizeSchema = z.int().min(10, "must be at least 10 GB").max(10240, "must be at most 10240 GB");

/** Volumes of a backend live as long as its object, those of the API in SQLite, as with machines. */
const made = new WeakMap<MachineBackend, Set<number>>();

export async function makeVolume(backend: MachineBackend, volume: VolumeSpec): Promise<void> {
  const ids = made.get(backend) ?? new Set();
  // The action that makes it may run again after a restart in the middle.
  if (ids.has(volume.id)) return;
  await backend.createVolume(volume);
  made.set(backend, ids.add(volume.id));
}

/** Does nothing when it is lost. */
export async function discardVolume(backend: MachineBackend, id: number): Promise<void> {
  if (!made.get(backend)?.has(id)) return;
  await backend.deleteVolume(id);
  made.get(backend)?.delete(id);
}
