import type { Context } from "../context.ts";
import type { Stored } from "../store/documents.ts";

/** Before the first boot of a machine that was made for an order. */
export async function applyMachineFaults(
  { faults, backend }: Context,
  { id, project, name, serverType, location }: Stored<"server">,
): Promise<void> {
  const found = faults.onMachine({ project, server: { name, type: serverType, location } });
  const atBoot = found.filter((fault) => fault !== "reused-address");
  if (atBoot.length > 0) await backend.setBootFaults(id, atBoot);
}
