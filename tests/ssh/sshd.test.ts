import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../../pool/secrets/secret.ts";
import { createNspawnBackend } from "../cloud/machines/nspawn/backend.ts";
import { installMissing, missingParts } from "../cloud/machines/nspawn/missing.ts";
import { ed25519KeyPair, loginWhenUp, userData } from "../cloud/machines/probe.ts";
import { sshContract } from "./contract.ts";

// Asked before the suite is built, so that a host without nspawn skips it with the reason.
await installMissing(console.log);
const missing = await missingParts();

if (missing.length > 0) {
  const reason = missing.map(({ part, remedy }) => `${part} (${remedy})`).join("; ");
  describe("ssh contract: OpenSSH's sshd", () => {
    it(`cannot run on this host, which lacks: ${reason}`, function () {
      console.log(`\n*** NOT TESTED: SSH against OpenSSH's sshd. This host lacks: ${reason} ***\n`);
      this.skip();
    });
  });
} else {
  before("the Debian root", async function () {
    this.timeout(600_000);
    const { rootImage } = await import("../cloud/machines/nspawn/image.ts");
    await rootImage(console.log);
  });

  sshContract("OpenSSH's sshd on an nspawn machine", async () => {
    const stateDir = await mkdtemp(join(tmpdir(), "clawpool-sshd-"));
    const backend = createNspawnBackend({ stateDir });
    const [host, user] = [ed25519KeyPair("host"), ed25519KeyPair("user")];
    const close = async () => {
      await backend.stop();
      await rm(stateDir, { recursive: true, force: true });
    };
    try {
      await backend.start();
      const { ipv4 } = await backend.create({
        id: 1,
        name: "claw-sshd",
        image: "debian-12",
        userData: userData(host, user),
        sshKeys: [],
        location: "fsn1",
        cores: 2,
        memoryGiB: 2,
      });
      await backend.powerOn(1);
      const session = await loginWhenUp({ host: ipv4, port: 22, username: "clawpool", key: user });
      session.close();
      return {
        target: {
          host: ipv4,
          port: 22,
          username: "clawpool",
          privateKey: new Secret(user.private),
          hostKey: host.public,
        },
        cut: async () => {
          await backend.exec(1, ["pkill", "-KILL", "-f", "^sshd: clawpool"]);
        },
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  });
}
