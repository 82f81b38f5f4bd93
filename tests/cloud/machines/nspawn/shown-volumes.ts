/** Volumes as a machine sees them: a disk, its name below /dev/disk/by-id, and a mount if the user wanted one. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Container } from "./container.ts";
import type { Boot } from "./machine.ts";
import { plugLoop, unplugLoop } from "./volumes.ts";

export interface ShownVolume {
  readonly id: number;
  readonly file: string;
  readonly automount: boolean;
  /** Name of the disk on the machine, e.g. sdb. */
  readonly device: string;
  /** The host's loop device, while the machine runs. */
  loop: string | null;
}

/** The machine's own disk would be sda. */
const firstLetter = "b".charCodeAt(0);

/** @throws when there are 25 already; Hetzner's limit is 16. */
export function freeDevice(volumes: readonly ShownVolume[]): string {
  for (let letter = firstLetter; letter <= "z".charCodeAt(0); letter++) {
    const name = `sd${String.fromCharCode(letter)}`;
    if (!volumes.some(({ device }) => device === name)) return name;
  }
  throw new Error("no name for another disk");
}

/** What udev and Hetzner's hc-utils do on a server when a volume appears. */
const showScript = `
mknod -m 660 "/dev/$1" b "\${2%:*}" "\${2#*:}"
mkdir -p /dev/disk/by-id
ln -sfn "../../$1" "/dev/disk/by-id/scsi-0HC_Volume_$3"
if [ "$4" = automount ] && blkid -p "/dev/$1" >/dev/null; then
  mkdir -p "/mnt/HC_Volume_$3"
  mount -o discard "/dev/$1" "/mnt/HC_Volume_$3"
fi`;

/** The device goes whoever still uses it; what was written before is on it. */
const hideScript = `
sync
awk -v device="$2" '$3 == device { print $5 }' /proc/self/mountinfo | while read -r path; do umount -l "$path"; done
rm -f "/dev/disk/by-id/scsi-0HC_Volume_$3" "/dev/$1"
rmdir "/mnt/HC_Volume_$3" 2>/dev/null || true`;

/** Shows a volume to a machine that has booted. */
export async function show(volume: ShownVolume, { container, kind }: Boot): Promise<void> {
  if (kind === "hung") return;
  volume.loop = await plugLoop(volume.file);
  try {
    const mount = volume.automount && kind === "usual" ? "automount" : "";
    await inside(container, showScript, volume, volume.loop, mount);
  } catch (error) {
    await hide(volume, null);
    throw error;
  }
}

/** Takes it away again. @param container null when nothing of the machine runs any more */
export async function hide(volume: ShownVolume, container: Container | null): Promise<void> {
  const { loop } = volume;
  if (loop === null) return;
  if (container) await inside(container, hideScript, volume, loop);
  await unplugLoop(loop);
  volume.loop = null;
}

async function inside(
  container: Container,
  script: string,
  { device, id }: ShownVolume,
  loop: string,
  ...more: readonly string[]
): Promise<void> {
  const numbers = await readFile(join("/sys/block", loop.replace("/dev/", ""), "dev"), "utf8");
  const argv = ["sh", "-ec", script, "sh", device, numbers.trim(), String(id), ...more];
  const { code, stderr } = await container.exec(argv);
  if (code !== 0) throw new Error(`volume ${id}: ${stderr.trim()}`);
}
