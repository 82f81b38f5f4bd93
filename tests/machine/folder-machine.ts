/** A prepared folder machine for tests of the hand-over program: real ansible-playbook, real SSH, stand-in gateway. */
import { strict as assert } from "node:assert";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createAnsible } from "../../pool/ansible/ansible.ts";
import { firstBoot, userData } from "../../pool/machine/user-data.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { ensureAnsible } from "../../pool/setup/venv.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import type { Ssh, SshTarget } from "../../pool/ssh/ssh.ts";
import { createSsh } from "../../pool/ssh/ssh2.ts";
import { createProcessBackend, type ProcessBackend } from "../cloud/machines/process/backend.ts";
import { type ModelServer, startModelServer } from "../cloud/model/server.ts";
import { type LocalTailscale, startTailscale } from "../cloud/tailscale/api.ts";

export const poolToken = "pool-token-of-a-test-machine-0001";
const sshPort = 22_222;

export interface PreparedMachine {
  readonly ssh: Ssh;
  readonly backend: ProcessBackend;
  readonly address: string;
  readonly root: string;
  readonly tailscale: LocalTailscale;
  readonly model: ModelServer;
  target(user: "root" | "clawpool"): SshTarget;
  read(path: string): Promise<string>;
  gateway(path: string, token?: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

/** One machine, made like the daemon makes it: boot host key, key born on the machine, playbook. */
export async function preparedMachine(): Promise<PreparedMachine> {
  const dir = await mkdtemp(join(tmpdir(), "clawpool-machine-"));
  const closers: (() => Promise<unknown>)[] = [() => rm(dir, { recursive: true, force: true })];
  const close = async () => {
    for (let last = closers.pop(); last; last = closers.pop()) await last();
  };
  try {
    const { bin } = await ensureAnsible();
    const model = await startModelServer({ host: "127.0.0.1" });
    closers.push(() => model.close());
    await mkdir(join(dir, "tailscale"));
    const tailscale = await startTailscale({ mode: "simulated", dir: join(dir, "tailscale") });
    closers.push(() => tailscale.close());
    const backend = createProcessBackend({ stateDir: join(dir, "machines"), sshPort });
    await backend.start();
    closers.push(() => backend.stop());

    const [boot, controller] = [generateKeyPair(), generateKeyPair()];
    const { ipv4 } = await backend.create({
      id: 1,
      name: "claw-test-1",
      image: "debian-12",
      userData: userData({
        bootHostKey: boot.privateKey.expose(),
        bootHostPublicKey: boot.publicKey,
        controllerPublicKey: controller.publicKey,
      }),
      sshKeys: [],
      location: "fsn1",
      cores: 2,
      memoryGiB: 4,
    });
    await backend.powerOn(1);
    const ssh = createSsh();
    let hostKey = boot.publicKey;
    const target = (username: "root" | "clawpool"): SshTarget => ({
      host: ipv4,
      port: sshPort,
      username,
      privateKey: controller.privateKey,
      hostKey,
    });
    const first = await ssh.connect(target("clawpool"));
    hostKey = (await first.exec(firstBoot.make)).stdout.trim();
    assert.equal((await first.exec(firstBoot.install)).code, 0);
    first.close();
    await prepare(bin, dir, model, target("clawpool"), controller.publicKey);

    const root = backend.rootOf(1);
    return {
      ssh,
      backend,
      address: ipv4,
      root,
      tailscale,
      model,
      target,
      read: (path) => readFile(join(root, path), "utf8"),
      gateway: (path, token, init = {}) =>
        fetch(`http://${ipv4}:18789${path}`, {
          ...init,
          headers: { ...init.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) },
        }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function prepare(bin: string, dir: string, model: ModelServer, target: SshTarget, key: string) {
  const playbook = fileURLToPath(new URL("../cloud/machines/process/prepare.yml", import.meta.url));
  const ansible = createAnsible({
    bin,
    playbook,
    collectionsPath: dirname(playbook),
    logDir: join(dir, "log"),
  });
  const result = await ansible.prepare({
    machine: "claw-test-1",
    ...target,
    vars: {
      clawpool_controller_key: key,
      clawpool_gateway_port: 18789,
      clawpool_default_model: "local/claw",
      clawpool_providers: [
        {
          id: "local",
          key_variable: "CLAW_MODEL_API_KEY",
          base_url: `${model.url}/v1`,
          api: "openai-completions",
          models: [
            { id: "claw", name: "Claw" },
            { id: "talon", name: "Talon" },
          ],
        },
      ],
    },
    secretVars: { clawpool_pool_token: new Secret(poolToken) },
    timeoutMs: 120_000,
  });
  if (!result.ok) throw new Error(`${result.failure?.task}: ${result.failure?.message}`);
}
