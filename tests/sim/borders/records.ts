/** The sealed records beside the database: files of the world, which outlive a daemon and a database. */
import type { RecordFiles } from "../../../pool/recovery/records.ts";
import type { World } from "../world.ts";

export function simulatedRecordFiles({ records }: Pick<World, "records">): RecordFiles {
  return {
    list: async () => [...records.keys()].sort(),
    read: async (name) => records.get(name) ?? null,
    async write(name, text) {
      records.set(name, text);
    },
    async remove(name) {
      records.delete(name);
    },
  };
}
