import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { machineContract } from "./contract.ts";
import { createNspawnBackend, type NspawnBackend } from "./nspawn/backend.ts";
import { hostMirror } from "./nspawn/host.ts";
import { installMissing, missingParts } from "./nspawn/missing.ts";
import { traces } from "./nspawn/traces.ts";
import { answers, ed25519KeyPair, loginWhenUp, succeed, until, userData } from "./probe.ts";

const newId = (): string => randomBytes(3).toString("hex");
const newFolder = (): Promise<string> => mkdtemp(join(tmpdir(), "clawpool-nspawn-"));

// Asked before the suites are built, so that a host without nspawn skips them with the reason.
await installMissing(console.log);
const missing = await missingParts();

if (missing.length > 0) {
  const reason = missing.map(({ part, remedy }) => `${part} (${remedy})`).join("; ");
  describe("nspawn machines", () => {
    it(`cannot run on this host, which lacks: ${reason}`, function () {
      console.log(`\n*** NOT TESTED: nspawn machines. This host lacks: ${reason} ***\n`);
      this.skip();
    });
  });
} else {
  before("the Debian root", async function () {
    this.timeout(600_000);
    const { rootImage } = await import("./nspawn/image.ts");
    await rootImage(console.log);
  });

  machineContract("nspawn", async () => {
    const [id, stateDir] = [newId(), await newFolder()];
    const leftovers = async () => {
      const found = await traces(id, stateDir);
      await rm(stateDir, { recursive: true, force: true });
      return found;
    };
    return { backend: createNspawnBackend({ id, stateDir }), sshPort: 22, leftovers };
  });

  describe("an nspawn machine", function () {
    this.timeout(60_000);
    const rootKey = ed25519KeyPair("root");
    let stateDir: string;
    let shared: string;
    let backend: NspawnBackend;
    let ipv4: string;

    before(async () => {
      stateDir = await newFolder();
      shared = await newFolder();
      await writeFile(join(shared, "from-host"), "host\n");
      backend = createNspawnBackend({
        stateDir,
        mounts: { "/opt/shared": shared },
        hostServices: ["control.test"],
      });
      await backend.start();
      const user = userData(ed25519KeyPair("host"), ed25519KeyPair("user"));
      const spec = { id: 5, name: "claw-5", image: "debian-12", userData: user, sshKeys: [rootKey.public] };
      ({ ipv4 } = await backend.create({ ...spec, location: "hel1", cores: 2, memoryGiB: 4 }));
      await backend.powerOn(5);
      await booted();
    });
    after(async () => {
      await backend.stop();
      await rm(stateDir, { recursive: true, force: true });
      await rm(shared, { recursive: true, force: true });
    });

    const login = () => loginWhenUp({ host: ipv4, port: 22, username: "root", key: rootKey });

    /** Resolves when the machine's boot is finished, cloud-init's last stage included. */
    async function booted(): Promise<void> {
      const session = await login();
      assert.equal(await succeed(session, "systemctl is-system-running --wait"), "running\n");
      session.close();
    }

    /** systemd-nspawn gives each boot an id of its own; undefined when nobody answers. */
    async function bootId(): Promise<string | undefined> {
      const answer = await backend.exec(5, ["cat", "/proc/sys/kernel/random/boot_id"]).catch(() => undefined);
      return answer?.code === 0 ? answer.stdout : undefined;
    }

    async function inside(command: string): Promise<string> {
      const { code, stdout, stderr } = await backend.exec(5, ["sh", "-ec", command]);
      assert.equal(code, 0, `${command}: ${stdout}${stderr}`);
      return stdout;
    }

    it("has cloud-init finish without an error and its console readable", async () => {
      const result = JSON.parse(await inside("cat /run/cloud-init/result.json")) as {
        v1: { errors: unknown[] };
      };
      assert.deepEqual(result.v1.errors, []);
      assert.match(await backend.consoleLog(5), /OpenBSD Secure Shell/);
    });

    it("keeps SSH open and closes the rest when UFW is enabled", async () => {
      await inside("python3 -m http.server 8123 >/dev/null 2>&1 & echo started");
      await until(() => answers(ipv4, 8123));
      await inside("ufw allow 22/tcp; ufw --force enable");
      assert.match(await inside("ufw status"), /Status: active/);
      assert.equal(await answers(ipv4, 22), true);
      assert.equal(await answers(ipv4, 8123), false);
      await inside("ufw --force disable");
      assert.equal(await answers(ipv4, 8123), true);
    });

    it("makes tun devices", async () => {
      await inside(
        "ip tuntap add dev tun9 mode tun; ip address add 100.64.0.9/32 dev tun9; ip link set tun9 up",
      );
      assert.match(await inside("ip -o address show tun9"), /100\.64\.0\.9/);
      await inside("ip link delete tun9");
    });

    it("answers as Hetzner's metadata service does", async () => {
      const get = (path: string) =>
        inside(`curl -sS --fail --max-time 10 http://169.254.169.254/hetzner/v1${path}`);
      assert.equal(await get("/metadata/hostname"), "claw-5");
      assert.equal(await get("/metadata/instance-id"), "5");
      assert.equal(await get("/metadata/public-ipv4"), ipv4);
      assert.equal(await get("/metadata/region"), "eu-central");
      assert.equal(await get("/metadata/availability-zone"), "hel1-dc2");
      assert.match(await get("/metadata"), /^instance-id: 5$/m);
      assert.match(await get("/userdata"), /^#cloud-config\n/);
      const status = await inside(
        "curl -s -o /dev/null -w '%{http_code}' http://169.254.169.254/hetzner/v1/metadata/none",
      );
      assert.equal(status, "404");
    });

    it("reaches services on the host by the gateway address and by name", async () => {
      assert.match(await inside("getent hosts control.test"), new RegExp(`^${backend.gateway} `));
    });

    it("sees the host's folder, and writes to it for itself alone", async () => {
      assert.equal(await inside("cat /opt/shared/from-host"), "host\n");
      await inside("echo machine > /opt/shared/from-machine; rm /opt/shared/from-host");
      assert.deepEqual(await readdir(shared), ["from-host"]);
    });

    it("reaches the Debian archive through NAT with its own apt configuration", async function () {
      const mirror = (await hostMirror()) ?? "http://deb.debian.org/debian";
      const hostCan = await fetch(new URL("dists/bookworm/InRelease", `${mirror.replace(/\/$/, "")}/`)).then(
        (response) => response.ok,
        () => false,
      );
      if (!hostCan) {
        console.log("*** NOT TESTED: NAT to the Debian archive, which this host itself does not reach ***");
        this.skip();
      }
      await inside("apt-get -qq -o APT::Update::Error-Mode=any update; apt-cache show hello > /dev/null");
    });

    it("starts a lingering user's units at boot, and stays on when it reboots itself", async () => {
      const unit = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=default.target\\n";
      await inside(`useradd --create-home agent
        install -d -o agent -g agent /home/agent/.config /home/agent/.config/systemd /home/agent/.config/systemd/user
        printf '${unit}' > /home/agent/.config/systemd/user/idle.service
        loginctl enable-linger agent
        systemctl start user@$(id -u agent)
        runuser -u agent -- env XDG_RUNTIME_DIR=/run/user/$(id -u agent) systemctl --user enable --now idle`);
      const before = await bootId();
      assert.ok(before);
      await inside("systemctl reboot");
      await until(async () => ![undefined, before].includes(await bootId()));
      await booted();
      assert.equal(backend.isOn(5), true);
      const state = await inside(
        "runuser -u agent -- env XDG_RUNTIME_DIR=/run/user/$(id -u agent) systemctl --user is-active idle",
      );
      assert.equal(state, "active\n");
    });

    it("is off when it powers itself off", async () => {
      const session = await login();
      await session.run("systemctl poweroff");
      session.close();
      await until(() => !backend.isOn(5));
    });
  });

  describe("local clouds with nspawn machines", function () {
    this.timeout(60_000);
    const folders: string[] = [];
    const backends: NspawnBackend[] = [];

    afterEach(async () => {
      for (const backend of backends.splice(0)) await backend.stop();
      for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
    });

    async function cloud(id: string): Promise<NspawnBackend> {
      const stateDir = await newFolder();
      folders.push(stateDir);
      const backend = createNspawnBackend({ id, stateDir });
      backends.push(backend);
      return backend;
    }

    it("run beside each other on one host, with a subnet each", async () => {
      // The same preferred subnet: only the last two digits decide.
      const [first, second] = [
        await cloud(`${newId().slice(0, 4)}77`),
        await cloud(`${newId().slice(0, 4)}77`),
      ];
      await Promise.all([first.start(), second.start()]);
      assert.notEqual(first.subnet, second.subnet);
    });

    it("refuse an id that is in use", async () => {
      const id = newId();
      const [first, second] = [await cloud(id), await cloud(id)];
      await first.start();
      await assert.rejects(second.start(), /is running already/);
    });

    it("remove what a killed one left, and nothing of a living one", async () => {
      const [deadId, stateDir] = [newId(), await newFolder()];
      folders.push(stateDir);
      const owner = spawn(
        process.execPath,
        [join(import.meta.dirname, "nspawn/doomed-owner.ts"), deadId, stateDir],
        {
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      const [said] = (await once(owner.stdout, "data")) as [Buffer];
      assert.equal(said.toString(), "machine is on\n");
      const livingId = newId();
      await (await cloud(livingId)).start();
      const livingDir = folders.at(-1) ?? "";
      // Before the kill: from then on any local cloud that starts on this host may clean up.
      const made = await traces(deadId, stateDir);
      for (const kind of ["process", "interface", "nft table", "cgroup", "registry", "folder"]) {
        assert.ok(
          made.some((trace) => trace.startsWith(kind)),
          `traces() sees no ${kind} of a running cloud (${made.join("; ")})`,
        );
      }
      owner.kill("SIGKILL");
      await once(owner, "exit");

      const next = await cloud(newId());
      await next.start();
      assert.deepEqual(await traces(deadId, stateDir), []);
      const ofLiving = await traces(livingId, livingDir);
      for (const kind of ["interface", "nft table", "registry", "folder"]) {
        assert.ok(
          ofLiving.some((trace) => trace.startsWith(kind)),
          `the living cloud has lost its ${kind}`,
        );
      }
    });
  });
}
