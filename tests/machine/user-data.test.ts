import { strict as assert } from "node:assert";
import { execaSync } from "execa";
import fc from "fast-check";
import { parse } from "yaml";
import { controllerUser, firstBootCommand, userData } from "../../pool/machine/user-data.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
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
    assert.equal(file.path, firstBootCommand.split(" ").at(-1));
    assert.equal(file.owner, "root:root");
    assert.equal(file.permissions, "0755");
    execaSync("sh", ["-n"], { input: file.content });
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
