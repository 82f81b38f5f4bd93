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

const firstBootProgram = "/usr/local/sbin/clawpool-first-boot";

/**
 * The two commands of the boot stage. `make` prints the public half of a host key born on the machine and changes
 * nothing that is in use; `install` puts it in the place of all other host keys. Either may be repeated. Between them
 * the controller writes down what it is about to believe.
 */
export const firstBoot = {
  make: `sudo -n ${firstBootProgram} make`,
  install: `sudo -n ${firstBootProgram} install`,
} as const;

/**
 * `make` waits for cloud-init first, so that nothing else holds apt's lock. It looks at the file that cloud-init's
 * last stage writes: `cloud-init status --wait` looks at the same one, but costs 0.3-0.5 s of Python more.
 */
const firstBootScript = `#!/bin/sh
set -eu
umask 077
key=/etc/ssh/ssh_host_ed25519_key
born=/etc/ssh/born_here
# Holds the key it speaks of: in a copy of this disk cloud-init has put another one in place.
installed=/etc/ssh/born_here_installed
case "\${1-}" in
make)
  until [ -e /run/cloud-init/result.json ]; do sleep 0.05; done
  if cmp -s "$installed" "$key.pub"; then cat "$key.pub"; exit; fi
  if [ ! -s "$born.pub" ]; then
    rm -f "$born"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$born"
  fi
  cat "$born.pub"
  ;;
install)
  if ! cmp -s "$installed" "$key.pub"; then
    cp "$born" "$key.new"
    cp "$born.pub" "$key.pub"
    chmod 644 "$key.pub"
    mv "$key.new" "$key"
    for other in /etc/ssh/ssh_host_*; do
      case "$other" in "$key" | "$key.pub") ;; *) rm -f "$other" ;; esac
    done
    sshd -t
    cp "$key.pub" "$installed"
    rm -f "$born" "$born.pub"
  fi
  systemctl reload ssh
  ;;
*)
  echo "usage: clawpool-first-boot make|install" >&2
  exit 2
  ;;
esac
`;

/** The same for all machines, and most of what there is to write out. */
const files = stringify({
  write_files: [
    {
      path: firstBootProgram,
      owner: "root:root",
      permissions: "0755",
      content: firstBootScript,
    },
  ],
});

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
  })}${files}`;
}
