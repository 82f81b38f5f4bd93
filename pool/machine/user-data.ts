/**
 * What a new server is told by cloud-init. It holds one secret, the boot host key: it lets the first connection be
 * checked against a pin instead of trusted, and the first thing that connection does is to replace it by a key born
 * on the machine (anybody on the machine can read user_data for ever).
 */
import { stringify } from "yaml";

export interface UserDataInput {
  /** OpenSSH PEM of the boot host key. */
  readonly bootHostKey: string;
  /** Its public half, `ssh-ed25519 AAAA…`. */
  readonly bootHostPublicKey: string;
  /** Public half of this machine's controller key. */
  readonly controllerPublicKey: string;
}

/** The controller's user on a machine until the hand-over takes it away. */
export const controllerUser = "clawpool";

/** Prints the public half of a host key born here; the command of the boot stage. */
export const firstBootCommand = "sudo -n /usr/local/sbin/clawpool-first-boot";

/**
 * Waits for cloud-init (so that nothing else holds apt's lock), then makes the machine's own host key. All other
 * host keys go: one key, one pin.
 */
const firstBoot = `#!/bin/sh
set -eu
cloud-init status --wait >/dev/null 2>&1 || true
cd /etc/ssh
umask 077
rm -f born_here born_here.pub
ssh-keygen -q -t ed25519 -N '' -C '' -f born_here
rm -f ssh_host_*
mv born_here ssh_host_ed25519_key
mv born_here.pub ssh_host_ed25519_key.pub
chmod 644 ssh_host_ed25519_key.pub
sshd -t
systemctl reload ssh
cat ssh_host_ed25519_key.pub
`;

/** The cloud-config document; at most 32 KiB by Hetzner's rule, in fact about 2 KiB. */
export function userData(input: UserDataInput): string {
  return `#cloud-config\n${stringify({
    ssh_deletekeys: true,
    ssh_genkeytypes: [],
    ssh_keys: {
      ed25519_private: input.bootHostKey,
      ed25519_public: input.bootHostPublicKey,
    },
    ssh_pwauth: false,
    package_update: false,
    users: [
      {
        name: controllerUser,
        shell: "/bin/sh",
        lock_passwd: true,
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        ssh_authorized_keys: [input.controllerPublicKey],
      },
    ],
    write_files: [
      {
        path: "/usr/local/sbin/clawpool-first-boot",
        owner: "root:root",
        permissions: "0755",
        content: firstBoot,
      },
    ],
  })}`;
}
