import { strict as assert } from "node:assert";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Ansible,
  createAnsible,
  type PlaybookResult,
  type PlaybookRun,
} from "../../../pool/ansible/ansible.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import { ensureAnsible } from "../../../pool/setup/venv.ts";
import { generateKeyPair } from "../../../pool/ssh/keys.ts";
import { createSsh } from "../../../pool/ssh/ssh2.ts";
import { createNspawnBackend, type NspawnBackend } from "../machines/nspawn/backend.ts";
import { installMissing, missingParts } from "../machines/nspawn/missing.ts";
import { loginWhenUp, userData } from "../machines/probe.ts";
import { ensureTailscale } from "../tailscale/build.ts";
import { ensureLocalMirror, mirrorMount, openclawVersion } from "./mirror.ts";

const machine = "claw-prepare-1";
const token = "pool-token-0123456789-abcdefgh";
const ansibleFolder = fileURLToPath(new URL("../../../ansible", import.meta.url));
const collectionsPath = fileURLToPath(new URL(".", import.meta.url));
const withoutComment = (key: string): string => key.split(" ").slice(0, 2).join(" ");

await installMissing(console.log);
const missing = await missingParts();

describe("preparing a machine", function () {
  // The first run on a computer builds Tailscale and fetches Node, OpenClaw and ansible-core.
  this.timeout(900_000);
  const keyPair = () => {
    const { privateKey, publicKey } = generateKeyPair();
    return { private: privateKey.expose(), public: publicKey };
  };
  const hostKey = keyPair();
  const controllerKey = keyPair();
  let dir: string;
  let backend: NspawnBackend;
  let ansible: Ansible;
  let run: PlaybookRun;
  let first: PlaybookResult;
  let playbook: string;
  let vars: Record<string, unknown>;

  before(async function () {
    if (missing.length > 0) {
      console.log(
        `\n*** NOT TESTED: preparing a machine. ${missing.map(({ part }) => part).join(", ")} missing ***\n`,
      );
      return this.skip();
    }
    const onProgress = (text: string) => console.log(`      ${text}`);
    const [{ bin }, tailscale] = await Promise.all([
      ensureAnsible({ onProgress }),
      ensureTailscale({ onProgress }),
    ]);
    const mirror = await ensureLocalMirror({ tailscale, onProgress });
    dir = await mkdtemp(join(tmpdir(), "clawpool-prepare-"));
    // A copy, so that an edit while the test runs does not look like a machine that drifted.
    await cp(ansibleFolder, join(dir, "ansible"), { recursive: true });
    playbook = join(dir, "ansible", "prepare.yml");
    backend = createNspawnBackend({ stateDir: dir, mounts: { [mirrorMount]: mirror.dir }, onProgress });
    await backend.start();
    const { ipv4 } = await backend.create({
      id: 1,
      name: machine,
      image: "debian-12",
      userData: userData(hostKey, controllerKey),
      sshKeys: [],
      location: "fsn1",
      cores: 2,
      memoryGiB: 4,
    });
    await backend.powerOn(1);
    (await loginWhenUp({ host: ipv4, port: 22, username: "clawpool", key: controllerKey })).close();
    vars = { clawpool_npm_cache: `${mirrorMount}/npm-cache`, clawpool_gateway_heap_mib: 2048 };
    ansible = createAnsible({ bin, playbook, collectionsPath, logDir: join(dir, "logs"), vars });
    run = {
      machine,
      host: ipv4,
      port: 22,
      username: "clawpool",
      privateKey: new Secret(controllerKey.private),
      hostKey: withoutComment(hostKey.public),
      vars: {
        clawpool_controller_key: withoutComment(controllerKey.public),
        clawpool_default_model: "pool/mock-1",
        clawpool_providers: [
          {
            id: "pool",
            base_url: "http://127.0.0.1:9/v1",
            api: "openai-completions",
            key_variable: "CLAW_MODEL_API_KEY",
            models: [{ id: "mock-1", name: "mock-1" }],
          },
          { id: "anthropic", key_variable: "ANTHROPIC_API_KEY" },
        ],
      },
      secretVars: { clawpool_pool_token: new Secret(token) },
      timeoutMs: 600_000,
    };
    first = await ansible.prepare(run);
    assert.deepEqual(first.failure, null);
    const own = first.tasks.filter(({ name }) => !name.startsWith("openclaw.installer"));
    const slow = (name: string) => /npm|warm/.test(name);
    const sum = (tasks: typeof own) => tasks.reduce((total, { seconds }) => total + seconds, 0).toFixed(1);
    console.log(
      `      prepared in ${first.seconds.toFixed(1)} s: role ${sum(first.tasks.filter((task) => !own.includes(task)))}, ` +
        `npm and gateway ${sum(own.filter(({ name }) => slow(name)))}, ours ${sum(own.filter(({ name }) => !slow(name)))}`,
    );
  });
  after(async () => {
    await backend?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  const sh = async (script: string, user = "root"): Promise<string> => {
    // Not by runuser as root: PAM's messages would put the script, and a token in it, into the journal.
    const become = user === "root" ? [] : ["runuser", "-u", user, "--"];
    const result = await backend.exec(1, [...become, "sh", "-c", script]);
    return `${result.stdout}${result.stderr ? `\n${result.stderr}` : ""}`.trim();
  };
  const gateway = "systemctl --user -M openclaw@ show openclaw-gateway.service --value -p";
  const status = (path: string, header = "") =>
    sh(`curl -s -o /dev/null -w '%{http_code}' ${header} http://127.0.0.1:18789${path}`);

  it("leaves a gateway running as the agent's own unit, on loopback, with a bounded stop", async () => {
    assert.equal(await sh(`${gateway} ActiveState`), "active");
    assert.equal(await sh(`${gateway} TimeoutStopUSec`), "30s");
    assert.equal(await sh(`ps -o user= -p $(${gateway} MainPID)`), "openclaw");
    assert.equal(
      await sh("ss -Hltn 'sport = :18789' | awk '{ print $4 }' | sort"),
      "127.0.0.1:18789\n[::1]:18789",
    );
    assert.equal(await sh("loginctl show-user openclaw --value -p Linger"), "yes");
  });

  it("leaves a gateway that takes the pool's token and nothing less", async () => {
    assert.equal(await status("/v1/models"), "401");
    assert.equal(await status("/v1/models", `-H 'authorization: Bearer ${token}'`), "200");
  });

  it("keeps the token in .env alone, for the agent's user alone", async () => {
    assert.equal(
      await sh("cd /home/openclaw/.openclaw && stat -c '%n %U %a' . .env openclaw.json"),
      [". openclaw 700", ".env openclaw 600", "openclaw.json openclaw 600"].join("\n"),
    );
    const holders = await sh(
      `grep -rlF ${token} /etc /root /home /opt/openclaw/.complete /tmp /var/lib /usr/local`,
    );
    assert.equal(holders, "/home/openclaw/.openclaw/.env");
    assert.equal(await sh(`journalctl --no-pager -o json | grep -cF ${token}`), "0");
  });

  it("leaves nothing of the warm-up turn", async () => {
    assert.equal(await sh("grep -c warmup /home/openclaw/.openclaw/openclaw.json"), "0");
    const listed = await sh(
      "cd /home/openclaw && HOME=/home/openclaw openclaw sessions --json --all-agents 2>/dev/null",
      "openclaw",
    );
    assert.deepEqual((JSON.parse(listed) as { sessions: unknown[] }).sessions, []);
  });

  it("closes the metadata address to the agent and leaves it open to root", async () => {
    const ask = "curl -s -m 5 -o /dev/null -w '%{http_code}' http://169.254.169.254/hetzner/v1/userdata";
    assert.equal(await sh(ask), "200");
    assert.equal(await sh(ask, "openclaw"), "000");
  });

  it("lets root's key run the hand-over program and nothing else", async () => {
    const { host, port, privateKey } = run;
    const root = { host, port, username: "root", privateKey, hostKey: run.hostKey };
    const connection = await createSsh().connect(root);
    try {
      const running = await connection.start("id");
      const { value } = await running.lines()[Symbol.asyncIterator]().next();
      const recorded = JSON.parse(await sh("cat /var/lib/clawpool/installed.json"));
      const armed = { type: "armed", program: "1", gateway: true, installed: recorded };
      assert.deepEqual(JSON.parse(value ?? ""), armed);
      running.end();
      const { stdout } = await running.done;
      assert.ok(!stdout.includes("uid="), stdout);
    } finally {
      connection.close();
    }
    const settings = await sh(
      "sshd -T | grep -E '^(permitrootlogin|passwordauthentication|kbdinteractive)' | sort",
    );
    assert.equal(
      settings,
      "kbdinteractiveauthentication no\npasswordauthentication no\npermitrootlogin forced-commands-only",
    );
  });

  it("leaves tailscaled running, logged out, and the firewall closed but for SSH and Tailscale", async () => {
    const { BackendState } = JSON.parse(await sh("tailscale status --json --peers=false"));
    assert.equal(BackendState, "NeedsLogin");
    assert.equal(
      await sh("systemctl show tailscaled --value -p Environment"),
      "TS_NO_LOGS_NO_SUPPORT=true TS_DISABLE_PORTMAPPER=1 TS_DEBUG_FIREWALL_MODE=nftables",
    );
    assert.equal(await sh("grep -c profile- /var/lib/tailscale/tailscaled.state"), "0");
    const firewall = await sh("ufw status verbose");
    assert.match(firewall, /^Status: active$/m);
    assert.match(firewall, /^Default: deny \(incoming\)/m);
    const open = firewall.match(/^\S+ +ALLOW IN/gm)?.map((line) => line.split(" ")[0]);
    assert.deepEqual(open, ["22/tcp", "41641/udp"]);
  });

  it("records what is installed, on the machine and in the result", async () => {
    const { installed } = first;
    assert.deepEqual(JSON.parse(await sh("cat /var/lib/clawpool/installed.json")), installed);
    assert.equal(installed.openclaw, openclawVersion);
    assert.equal(installed.recipe, await ansible.recipe());
    assert.match(installed.node ?? "", /^v24\./);
    for (const name of ["role", "os", "kernel", "tailscale", "program", "config"])
      assert.ok(installed[name], name);
  });

  it("leaves no traces of Ansible", async () => {
    assert.equal(await sh("ls -d /root/.ansible /home/*/.ansible /home/*/.bash_history 2>/dev/null"), "");
  });

  it("changes nothing the second time", async () => {
    const before = await sh(`${gateway} MainPID`);
    const second = await ansible.prepare(run);
    assert.deepEqual(second.failure, null);
    assert.deepEqual(
      second.tasks.filter((task) => task.status === "changed").map((task) => task.name),
      [],
    );
    assert.equal(await sh(`${gateway} MainPID`), before);
    assert.deepEqual(second.installed, first.installed);
  });

  it("refuses a machine that a customer has, and a variable of the wrong form", async () => {
    await sh(
      `echo '{"order":"o1","generation":1,"rehearsal":false,"done":true}' > /var/lib/clawpool/hand-over.json`,
    );
    const taken = await ansible.prepare(run);
    assert.match(taken.failure?.message ?? "", /handed over to a customer/);
    assert.equal(taken.failure?.kind, "permanent");
    await sh("rm /var/lib/clawpool/hand-over.json");
    const clawpool_controller_key = "ssh-ed25519 AAAA\nssh-ed25519 BBBB";
    const wrong = await ansible.prepare({ ...run, vars: { ...run.vars, clawpool_controller_key } });
    assert.equal(wrong.failure?.task, "Check the variables");
  });

  it("is still so after a reboot", async () => {
    await backend.reboot(1);
    // The old system may still answer: wait for the one that has another boot id.
    const before = await sh("cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1");
    for (let now = before; now === before; ) {
      (await loginWhenUp({ host: run.host, port: 22, username: "clawpool", key: controllerKey })).close();
      now = await sh("cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1").catch(() => before);
    }
    assert.match(
      await sh("iptables -S OUTPUT"),
      /-d 169\.254\.169\.254\/32 -m owner --uid-owner \d+ -j REJECT/,
    );
    assert.match(await sh("ufw status"), /^Status: active/);
    assert.equal(await sh("systemctl --user -M openclaw@ is-enabled openclaw-gateway.service"), "enabled");
  });
});
