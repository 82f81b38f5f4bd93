/**
 * Every secret of a run by name, and the search for them wherever a run leaves traces. Secrets are random and distinct,
 * so one that is found was leaked and is not a coincidence.
 */
import { type FSWatcher, watch } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { execa } from "execa";
import type { Store } from "../../pool/store/store.ts";
import type { Seen } from "./process-table.ts";
import type { Rig } from "./rig.ts";

/** What a line of a PEM or a base64 text must at least have to belong to one secret alone. */
const shortest = 16;

export class Canaries {
  readonly #names = new Map<string, string>();
  readonly #watcher: FSWatcher;
  readonly #worker: Worker;
  #seen: Promise<Seen> | null = null;

  constructor(rig: Rig, store: Store) {
    const { cloud, operator } = rig;
    this.add("Stripe key", cloud.stripe.key);
    this.add("Stripe webhook secret", cloud.stripe.webhookSecret);
    this.add("Hetzner token", cloud.hetzner.token);
    this.add("Tailscale client secret", cloud.tailscale.clientSecret);
    this.add("API token", operator.apiToken);
    void readFile(join(rig.dir, "secrets", "sealing.key"), "utf8").then((key) =>
      this.add("sealing key", key),
    );
    const { addKey } = cloud.tailscale.control;
    cloud.tailscale.control.addKey = (text, key) => {
      this.add(`Tailscale auth key ${key.id}`, text);
      return addKey(text, key);
    };
    const collect = () => {
      for (const { name } of store.machines()) {
        const { controllerKey, bootHostKey, poolToken } = store.machineSecrets(name);
        this.add(`controller key of ${name}`, controllerKey);
        this.add(`boot host key of ${name}`, bootHostKey);
        this.add(`pool token of ${name}`, poolToken);
      }
      for (const { id } of store.orders())
        this.add(`gateway token of ${id}`, store.agentSecrets(id).gatewayToken);
    };
    // At each change of the store: a machine has two pool tokens one after the other.
    this.#watcher = watch(operator.stateDir, (_event, file) => {
      if (file?.startsWith("clawpool.sqlite")) collect();
    });
    this.#worker = new Worker(new URL("./process-table.ts", import.meta.url));
  }

  /** A PEM counts line by line, but for the first, which is the same in all. */
  add(name: string, secret: string): void {
    const lines = secret.trim().split("\n");
    const body = lines.length === 1 ? lines : lines.slice(2, -1);
    for (const line of body) {
      if (line.length < shortest) continue;
      this.#names.set(line, name);
      if (lines.length === 1) this.#names.set(Buffer.from(line).toString("base64").replace(/=+$/, ""), name);
    }
  }

  get count(): number {
    return new Set(this.#names.values()).size;
  }

  /** Which secrets a text holds. */
  in(text: string): string[] {
    return [...new Set([...this.#names].filter(([needle]) => text.includes(needle)).map(([, name]) => name))];
  }

  /** `file: secret` for each secret in each file below the paths, but for names that `except` matches. */
  async inFiles(
    paths: readonly string[],
    except: (file: string) => boolean = () => false,
  ): Promise<string[]> {
    const folder = await mkdtemp(join(tmpdir(), "canaries-"));
    try {
      const needles = join(folder, "needles");
      await writeFile(needles, [...this.#names.keys()].join("\n"), { mode: 0o600 });
      const options = ["-r", "-H", "-a", "-o", "-F", "-Z", "--devices=skip", "--exclude-dir=node_modules"];
      const { stdout, exitCode, stderr } = await execa("grep", [...options, "-f", needles, ...paths], {
        reject: false,
        maxBuffer: 1e9,
      });
      // 2 with findings: a file vanished while it was searched, as logs and sockets do.
      if (exitCode !== 0 && exitCode !== 1 && !/No such file|No such device/.test(stderr))
        throw new Error(`grep: ${stderr}`);
      const found = stdout.split("\n").flatMap((line) => {
        const [file = "", needle = ""] = line.split("\0");
        const name = this.#names.get(needle);
        return name === undefined || except(file) ? [] : [`${file}: ${name}`];
      });
      return [...new Set(found)].sort();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Ends the look at the processes and says what was seen. */
  processes(): Promise<Seen> {
    this.#seen ??= new Promise((resolve, reject) => {
      this.#worker.once("message", resolve).once("error", reject);
      this.#worker.postMessage("end");
    });
    return this.#seen;
  }

  async close(): Promise<void> {
    this.#watcher.close();
    await this.#worker.terminate();
  }
}

/** What this product left in the temporary folder: run folders of Ansible, control sockets, notes. */
export async function temporaryFolders(except: string): Promise<string[]> {
  const names = await readdir(tmpdir());
  return names
    .filter((name) => name.startsWith("clawpool-"))
    .map((name) => join(tmpdir(), name))
    .filter((path) => path !== except);
}
