/** Hetzner and the gate before it, made by hand: each records its calls and fails once with `nextError`. */
import type {
  Cloud,
  CloudServer,
  Gate,
  GateRun,
  Orphan,
  PowerAction,
  RunPermit,
} from "../../pool/cloud/cloud.ts";
import { deleteThroughGate } from "../../pool/cloud/gate/own-calls.ts";
import type { CloudResource } from "../../pool/cloud/resources.ts";
import { ownLabels } from "../../pool/machine/labels.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { priceList } from "../hetzner-client/pricing.ts";

/** A second after the tests' clocks begin: nothing is older than the store that is compared with it. */
const after = Date.parse("2026-01-01T00:00:01Z");

export const platformIds = { sshKey: 1, firewall: 2, network: 3, placementGroups: [4] };

/** Throws `nextError` once. */
export class Fallible {
  nextError: Error | null = null;

  protected fail(): void {
    const error = this.nextError;
    this.nextError = null;
    if (error) throw error;
  }
}

export class FakeCloud extends Fallible implements Cloud {
  readonly list = new Map<number, CloudServer>();
  readonly calls: string[] = [];
  #lastId = 100;

  put(name: string, change: Partial<CloudServer> = {}): CloudServer {
    const server: CloudServer = {
      id: ++this.#lastId,
      name,
      status: "running",
      ipv4: "192.0.2.7",
      ipv4Id: null,
      location: "fsn1",
      serverType: "cx23",
      labels: ownLabels("test"),
      createdAt: after,
      isProtected: false,
      ...change,
    };
    this.list.set(server.id, server);
    return server;
  }
  async server(id: number) {
    this.calls.push(`server ${id}`);
    this.fail();
    return this.list.get(id) ?? null;
  }
  async serverByName(name: string) {
    this.calls.push(`server ${name}`);
    this.fail();
    return [...this.list.values()].find((server) => server.name === name) ?? null;
  }
  async servers(selector: string) {
    this.calls.push(`servers ${selector}`);
    this.fail();
    return [...this.list.values()];
  }
  /** Beside the platform's own. */
  readonly others: CloudResource[] = [];
  hasPlatform = true;
  #platform(): CloudResource[] {
    if (!this.hasPlatform) return [];
    const { sshKey, firewall, network, placementGroups } = platformIds;
    const own = (kind: CloudResource["kind"], id: number, behind = "") =>
      resourceOf(kind, id, `clawpool-test${behind}`);
    return [
      { ...own("ssh_key", sshKey), publicKey: "ssh-ed25519 AAAA shared" },
      own("firewall", firewall),
      own("network", network),
      ...placementGroups.map((id, place) => own("placement_group", id, `-${place}`)),
    ];
  }
  async resource(kind: CloudResource["kind"], id: number) {
    this.calls.push(`${kind} ${id}`);
    this.fail();
    return (
      [...this.#platform(), ...this.others].find((other) => other.kind === kind && other.id === id) ?? null
    );
  }
  async resources(kind: CloudResource["kind"], selector: string) {
    this.calls.push(`${kind} ${selector}`);
    this.fail();
    return [...this.#platform(), ...this.others].filter((other) => other.kind === kind);
  }
  async serverTypes() {
    return [];
  }
  async locations() {
    return [];
  }
  prices = async () => priceList;
  reset(): void {
    this.list.clear();
    this.others.length = 0;
    this.calls.length = 0;
    this.nextError = null;
  }
}

export const resourceOf = (
  kind: CloudResource["kind"],
  id: number,
  name: string,
  change: Partial<CloudResource> = {},
): CloudResource => ({
  kind,
  id,
  name,
  labels: ownLabels("test"),
  createdAt: after,
  server: null,
  isProtected: false,
  location: null,
  type: kind,
  gigabytes: 0,
  publicKey: null,
  ...change,
});

export class FakeGate implements Gate {
  /** Where runs are told to go; a test that deletes through the gate puts a server of its own here. */
  endpoint = "http://127.0.0.1:1/v1";
  readonly permits: RunPermit[] = [];
  open = 0;

  openRun(permit: RunPermit): GateRun {
    this.permits.push(permit);
    this.open += 1;
    return {
      endpoint: this.endpoint,
      token: new Secret("g".repeat(64)),
      counts: () => ({ upstream: 1, asked: 2 }),
      close: () => {
        this.open -= 1;
      },
    };
  }
  readonly deleteServer = deleteThroughGate;
  readonly orphans: Orphan[] = [];
  /** What becomes of an orphan's deletion. */
  onOrphan: (orphan: Orphan) => "asked" | "gone" = () => "asked";
  async deleteOrphan(orphan: Orphan) {
    this.orphans.push(orphan);
    return this.onOrphan(orphan);
  }
  /** What was asked for, and what the server does about it. */
  readonly powered: string[] = [];
  onPower: (action: PowerAction, serverId: number) => void = () => {};
  async power(_run: GateRun, serverId: number, action: PowerAction): Promise<void> {
    this.powered.push(`${action} ${serverId}`);
    this.onPower(action, serverId);
  }
  async close(): Promise<void> {}
  reset(): void {
    this.permits.length = 0;
    this.orphans.length = 0;
    this.open = 0;
  }
}
