import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { startSshd } from "../cloud/machines/process/sshd.ts";
import { sshContract } from "./contract.ts";

sshContract("ssh2's server", async () => {
  const root = await mkdtemp(join(tmpdir(), "clawpool-ssh-"));
  const [host, user] = [generateKeyPair(), generateKeyPair()];
  const keys = join(root, "home/clawpool/.ssh/authorized_keys");
  await mkdir(dirname(keys), { recursive: true });
  await writeFile(keys, `${user.publicKey}\n`);
  const start = () =>
    startSshd({
      root,
      address: "127.0.0.1",
      port: 22_322,
      hostKey: host.privateKey.expose(),
      environment: () => ({ PATH: process.env.PATH }),
    });
  let sshd = await start();
  return {
    target: {
      host: "127.0.0.1",
      port: 22_322,
      username: "clawpool",
      privateKey: user.privateKey,
      hostKey: host.publicKey,
    },
    cut: async () => {
      await sshd.close();
      sshd = await start();
    },
    close: async () => {
      await sshd.close();
      await rm(root, { recursive: true, force: true });
    },
  };
});
