/**
 * The rescue system: another Debian on a layer that lasts for one boot, with keys or a password for root and a host
 * key that was made for this boot, as Hetzner's has. cloud-init has no part in it.
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { generateKeyPair } from "../../../../pool/ssh/keys.ts";
import type { RescueSpec } from "../backend.ts";
import {
  addressFiles,
  loginFiles,
  type MachineFolders,
  machineFolders,
  type Surroundings,
  writeFiles,
} from "./disk.ts";

const folderOf = (folders: MachineFolders) => join(folders.dir, "rescue");

/** Makes the rescue system's disk for one boot. The password is set later, when it runs. */
export async function makeRescueDisk(
  folders: MachineFolders,
  rescue: RescueSpec,
  around: Surroundings,
): Promise<MachineFolders> {
  const own = machineFolders(folderOf(folders));
  await removeRescueDisk(folders);
  for (const path of [own.upper, own.work, own.root]) await mkdir(path, { recursive: true });
  await chmod(own.upper, 0o755);
  const hostKey = generateKeyPair("root@rescue");
  await writeFiles(own, {
    ...around.hostFiles,
    ...loginFiles,
    ...addressFiles("rescue", around),
    "etc/machine-id": "",
    "etc/cloud/cloud-init.disabled": "",
    "etc/ssh/ssh_host_ed25519_key": hostKey.privateKey.expose(),
    "etc/ssh/ssh_host_ed25519_key.pub": `${hostKey.publicKey}\n`,
    "root/.ssh/authorized_keys": rescue.sshKeys.map((key) => `${key.trim()}\n`).join(""),
  });
  for (const path of ["root", "root/.ssh"]) await chmod(join(own.upper, path), 0o700);
  return own;
}

export function removeRescueDisk(folders: MachineFolders): Promise<void> {
  return rm(folderOf(folders), { recursive: true, force: true });
}
