/**
 * Volumes: a sparse file each, shown to a machine as a block device by the kernel's loop driver. A loop device exists
 * only while a machine that is on has the volume attached.
 */
import { mkdir, open, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { VolumeSpec } from "../backend.ts";

const bytesOf = (gigabytes: number) => gigabytes * 2 ** 30;

export const volumeFile = (dir: string, id: number): string => join(dir, `volume-${id}`);

/** Makes the file and, if wanted, the file system in it. */
export async function makeVolume(file: string, { size, format }: VolumeSpec): Promise<void> {
  await mkdir(join(file, ".."), { recursive: true });
  await (await open(file, "wx", 0o600)).close();
  try {
    await truncate(file, bytesOf(size));
    if (format) await execa(`mkfs.${format}`, ["-q", file]);
  } catch (error) {
    await removeVolume(file);
    throw error;
  }
}

/** Shows the volume's file as a block device of the host, e.g. /dev/loop3. */
export async function plugLoop(file: string): Promise<string> {
  return (await execa("losetup", ["--find", "--show", file])).stdout.trim();
}

/** A device that is still mounted somewhere goes when that ends; this waits for it. */
export async function unplugLoop(device: string): Promise<void> {
  await execa("losetup", ["--detach", device], { reject: false });
  const file = join("/sys/block", device.replace("/dev/", ""), "loop/backing_file");
  const deadline = performance.now() + unplugMs;
  while ((await readFile(file, "utf8").catch(() => "")) !== "") {
    if (performance.now() > deadline) throw new Error(`${device} is still in use`);
    await delay(5);
  }
}

const unplugMs = 5_000;

/** Grows the file and the device that shows it. */
export async function growVolume(file: string, size: number, device: string | null): Promise<void> {
  await truncate(file, bytesOf(size));
  if (device) await execa("losetup", ["--set-capacity", device]);
}

/** Takes away every loop device whose file is below `dir`: those of a local cloud that was killed. */
export async function unplugLoopsBelow(dir: string): Promise<void> {
  for (const name of await readdir("/sys/block").catch(() => [])) {
    if (!name.startsWith("loop")) continue;
    const file = await readFile(join("/sys/block", name, "loop/backing_file"), "utf8").catch(() => "");
    if (file.startsWith(`${dir}/`)) await unplugLoop(join("/dev", name));
  }
}

export const removeVolume = (file: string): Promise<void> => rm(file, { force: true });
