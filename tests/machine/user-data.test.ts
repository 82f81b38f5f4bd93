import { strict as assert } from "node:assert";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execaSync } from "execa";
import fc from "fast-check";
import { parse } from "yaml";
import { controllerUser, firstBoot, userData } from "../../pool/machine/user-data.ts";
import { generateKeyPair, publicKeyOf } from "../../pool/ssh/keys.ts";
import { injections } from "../order/injections.ts";

const boot = generateKeyPair();
const controller = generateKeyPair();
const input = {
  bootHostKey: boot.privateKey.expose(),
  bootHostPublicKey: boot.publicKey,
  controllerPublicKey: controller.publicKey,
};

describe("user_data", () => {
  const text = userData(input);
  const document = parse(text);

  it("is a cloud-config that YAML reads back, within Hetzner's 32 KiB", () => {
    assert.ok(text.startsWith("#cloud-config\n"));
    assert.ok(Buffer.byteLength(text) <= 32 * 1024, `${Buffer.byteLength(text)} bytes`);
  });

  it("installs the host key that we pin, whole, and no other", () => {
    assert.deepEqual(document.ssh_keys, {
      ed25519_private: input.bootHostKey,
      ed25519_public: input.bootHostPublicKey,
    });
    assert.equal(document.ssh_deletekeys, true);
    assert.deepEqual(document.ssh_genkeytypes, []);
  });

  it("lets the controller in by its key alone", () => {
    assert.equal(document.ssh_pwauth, false);
    const [user, ...more] = document.users;
    assert.deepEqual(more, []);
    assert.equal(user.name, controllerUser);
    assert.deepEqual(user.ssh_authorized_keys, [input.controllerPublicKey]);
    assert.equal(user.lock_passwd, true);
  });

  it("holds no secret but the boot host key", () => {
    assert.ok(!text.includes(controller.privateKey.expose()));
    assert.equal(text.match(/PRIVATE KEY/g)?.length, 2, "begin and end of one key");
  });

  it("brings the program of the first connection, root's, in a shell that reads it", () => {
    const [file] = document.write_files;
    assert.equal(file.path, firstBoot.make.split(" ").at(-2));
    assert.equal(file.owner, "root:root");
    assert.equal(file.permissions, "0755");
    execaSync("sh", ["-n"], { input: file.content });
  });

  describe("the program of the first connection", () => {
    let folder = "";
    const read = (path: string) => readFileSync(join(folder, path), "utf8");
    /** The program itself, with its paths in a folder; only sshd and systemctl are stood for. */
    const firstBootProgram = (...args: string[]) => {
      const script = (document.write_files[0].content as string)
        .replaceAll("/etc/ssh", join(folder, "ssh"))
        .replaceAll("/run/cloud-init", folder);
      return execaSync("sh", ["-s", "--", ...args], {
        input: script,
        env: { PATH: `${join(folder, "bin")}:${process.env.PATH}` },
      }).stdout.trim();
    };

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "clawpool-first-boot-"));
      for (const path of ["ssh", "bin"]) mkdirSync(join(folder, path));
      for (const name of ["sshd", "systemctl"])
        writeFileSync(join(folder, "bin", name), "#!/bin/sh\n", { mode: 0o755 });
      writeFileSync(join(folder, "result.json"), "{}");
      writeFileSync(join(folder, "ssh/ssh_host_ed25519_key"), input.bootHostKey);
      writeFileSync(join(folder, "ssh/ssh_host_ed25519_key.pub"), `${input.bootHostPublicKey}\n`);
      writeFileSync(join(folder, "ssh/ssh_host_rsa_key"), "another");
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it("makes one key, and leaves the one in use alone until it is told to install", () => {
      const born = firstBootProgram("make");
      assert.match(born, /^ssh-ed25519 \S+$/);
      assert.notEqual(born, input.bootHostPublicKey);
      assert.equal(firstBootProgram("make"), born);
      assert.equal(read("ssh/ssh_host_ed25519_key"), input.bootHostKey);
      firstBootProgram("install");
      assert.equal(publicKeyOf(read("ssh/ssh_host_ed25519_key")), born);
      assert.equal(read("ssh/ssh_host_ed25519_key.pub").trim(), born);
      assert.deepEqual(
        readdirSync(join(folder, "ssh")).filter((file) => file.startsWith("ssh_host")),
        ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"],
      );
    });

    it("says the same and changes nothing when it is repeated after the installation", () => {
      const born = firstBootProgram("make");
      firstBootProgram("install");
      const key = read("ssh/ssh_host_ed25519_key");
      assert.equal(firstBootProgram("make"), born);
      firstBootProgram("install");
      assert.equal(read("ssh/ssh_host_ed25519_key"), key);
    });

    it("makes another key in a copy of the disk, where cloud-init has put its own in place", () => {
      const born = firstBootProgram("make");
      firstBootProgram("install");
      writeFileSync(join(folder, "ssh/ssh_host_ed25519_key.pub"), `${input.bootHostPublicKey}\n`);
      const again = firstBootProgram("make");
      assert.notEqual(again, born);
      assert.notEqual(again, input.bootHostPublicKey);
    });
  });

  it("keeps every text what it is: neither YAML, cloud-init's Jinja nor terraform sees anything in it", () => {
    const trouble = [...injections, "a: b", "- a", "# a", "'", '"', "\\", "é", "\t"];
    const piece = fc.oneof(fc.constantFrom(...trouble, "\n"), fc.string({ maxLength: 20 }));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const key = pieces.join("");
        const written = userData({ bootHostKey: key, bootHostPublicKey: key, controllerPublicKey: key });
        // cloud-init evaluates templates only behind this first line (cloudinit/handlers/jinja_template.py).
        assert.ok(!written.startsWith("## template: jinja"));
        const back = parse(written);
        assert.equal(back.ssh_keys.ed25519_private, key);
        assert.equal(back.users[0].ssh_authorized_keys[0], key);
        assert.equal(back.write_files[0].content, document.write_files[0].content);
      }),
    );
  });
});
