/** Debian's hcloud-cli against the emulator: one test an operation. */
import assert from "node:assert/strict";
import { publicKey } from "../hetzner/rig.ts";
import { type Cli, type CliResult, hcloudCli } from "./cli.ts";
import { type ClientRig, startClientRig } from "./rig.ts";

/**
 * What is typed, and what is printed then. `{key}` stands for a public key, `{id}`, `{ip}` and `{address}` for the id,
 * the IPv4 and the id of the Primary IP that were printed last in the same chain.
 */
type Operation = readonly [typed: string, printed: RegExp];

/**
 * The operations of a chain follow each other; the chains share a project and run side by side, because this client
 * takes half a second for every action, whatever its --poll-interval says.
 */
const chains: Readonly<Record<string, readonly Operation[]>> = {
  "the catalogue, keys, networks": [
    ["location list", /fsn1[\s\S]*nbg1[\s\S]*hel1/],
    ["location describe hel1", /Helsinki/],
    ["datacenter list", /hel1-dc2/],
    ["datacenter describe hel1-dc2", /Helsinki 1 virtual DC 2/],
    ["server-type list", /cx23/],
    ["server-type describe cx23", /Cores:\s+2/],
    ["image list --type system", /debian-12/],
    ["image describe debian-12", /OS version:\s+12/],
    ["iso list", /\d/],
    ["iso describe 8637", /8637/],
    ["ssh-key create --name key --public-key {key}", /SSH key \d+ created/],
    ["ssh-key list", /key/],
    ["ssh-key describe key", /Fingerprint:\s+([0-9a-f]{2}:){15}/],
    ["ssh-key add-label key a=1", /added/],
    ["ssh-key remove-label key a", /removed/],
    ["ssh-key update key --name key-2", /updated/],
    ["ssh-key delete key-2", /deleted/],
    ["network create --name net --ip-range 10.0.0.0/16", /Network \d+ created/],
    ["network list", /10\.0\.0\.0\/16/],
    ["network add-subnet net --type cloud --network-zone eu-central --ip-range 10.0.1.0/24", /added/],
    ["network add-route net --destination 10.100.1.0/24 --gateway 10.0.1.7", /added/],
    ["network describe net", /10\.100\.1\.0\/24/],
    ["network remove-route net --destination 10.100.1.0/24 --gateway 10.0.1.7", /removed/],
    ["network change-ip-range net --ip-range 10.0.0.0/12", /changed/],
    ["network enable-protection net delete", /enabled/],
    ["network disable-protection net delete", /disabled/],
    ["network remove-subnet net --ip-range 10.0.1.0/24", /removed/],
    ["network delete net", /deleted/],
  ],
  "a server's life": [
    ["server create --name life --type cx23 --image debian-12 --location hel1", /Server \d+ created/],
    ["server list --selector !role", /life\s+running/],
    ["server describe life", /Status:\s+running/],
    ["server add-label life tier=a", /added/],
    ["server remove-label life tier", /removed/],
    ["server update life --name life-2", /updated/],
    ["server ip life-2", /^\d+\.\d+\.\d+\.\d+$/],
    ["server metrics life-2 --type cpu -o json", /"time_series"/],
    ["server request-console life-2", /wss:\/\//],
    ["server reset-password life-2", /Password of server \d+ reset to/],
    ["server reboot life-2", /rebooted/],
    ["server reset life-2", /reset/],
    ["server shutdown life-2", /shut down/],
    ["server poweroff life-2", /stopped/],
    ["server change-type life-2 cx33 --keep-disk", /changed to type cx33/],
    ["server poweron life-2", /started/],
    ["server delete life-2", /deleted/],
  ],
  "a server's disk": [
    ["ssh-key create --name rescue --public-key {key-2}", /created/],
    ["server create --name disk --type cx23 --image debian-12 --location hel1", /Server \d+ created/],
    ["server enable-rescue disk --ssh-key rescue", /Rescue enabled/],
    ["server disable-rescue disk", /Rescue disabled/],
    ["server attach-iso disk 8637", /attached/],
    ["server detach-iso disk", /detached/],
    ["server enable-backup disk", /Backup enabled/],
    ["server create-image disk --type backup --description nightly", /Image \d+ created/],
    ["server disable-backup disk", /Backup disabled/],
    ["server create-image disk --type snapshot --description snap", /Image \d+ created/],
    ["image list --type snapshot", /snap/],
    ["image update {id} --description renamed", /updated/],
    ["image add-label {id} a=1", /added/],
    ["image enable-protection {id} delete", /enabled/],
    ["image disable-protection {id} delete", /disabled/],
    ["server rebuild disk --image {id}", /rebuilt/],
    ["image delete {id}", /deleted/],
    ["server enable-protection disk delete rebuild", /enabled/],
    ["server disable-protection disk delete rebuild", /disabled/],
    ["server delete disk", /deleted/],
    ["ssh-key delete rescue", /deleted/],
  ],
  "a server's connections": [
    ["network create --name lan --ip-range 10.1.0.0/16", /created/],
    ["network add-subnet lan --type cloud --network-zone eu-central --ip-range 10.1.1.0/24", /added/],
    ["placement-group create --name group --type spread", /Placement group \d+ created/i],
    ["firewall create --name fw", /Firewall \d+ created/],
    ["firewall add-rule fw --direction in --protocol tcp --port 22 --source-ips 0.0.0.0/0", /updated/],
    ["firewall describe fw", /Port:\s+22/],
    [
      "server create --name lan-1 --type cx23 --image debian-12 --location hel1 --network lan --firewall fw " +
        "--placement-group group --label role=test",
      /Server \d+ created/,
    ],
    ["placement-group describe group", /spread/],
    ["server set-rdns lan-1 --hostname cli.example.com", /changed/],
    ["server change-alias-ips lan-1 --network lan --alias-ips 10.1.1.50", /changed/],
    ["server detach-from-network lan-1 --network lan", /detached/],
    ["server attach-to-network lan-1 --network lan --ip 10.1.1.9", /attached/],
    ["firewall apply-to-resource fw --type label_selector --label-selector role=test", /applied/],
    ["firewall remove-from-resource fw --type label_selector --label-selector role=test", /applied/],
    ["server poweroff lan-1", /stopped/],
    ["server remove-from-placement-group lan-1", /removed/],
    ["server add-to-placement-group lan-1 --placement-group group", /added/],
    ["server delete lan-1", /deleted/],
    ["firewall delete fw", /deleted/],
    ["network delete lan", /deleted/],
    ["placement-group delete group", /deleted/],
  ],
  "addresses and volumes": [
    [
      "server create --name bare --type cx23 --image debian-12 --location hel1 --start-after-create=false",
      /Server \d+ created/,
    ],
    // It cannot make an address: what it sends is a data center, which the API has forgotten, and no assignee.
    ["server describe bare", /IPv4:\s+ID:\s+\d+/],
    ["primary-ip describe {address}", /Assignee/],
    ["primary-ip update {address} --name address --auto-delete=false", /updated/],
    ["primary-ip set-rdns address --ip {ip} --hostname address.example.com", /associated/],
    ["primary-ip list", /address/],
    ["primary-ip unassign {address}", /unassigned/],
    ["primary-ip assign {address} --server bare", /assigned/],
    ["primary-ip unassign {address}", /unassigned/],
    ["primary-ip delete {address}", /deleted/],
    ["volume create --name vol --size 10 --location hel1", /Volume \d+ created/],
    ["volume list", /vol/],
    ["volume attach vol --server bare", /attached/],
    ["volume detach vol", /detached/],
    ["volume resize vol --size 20", /resized/],
    ["volume describe vol", /20 GB/],
    ["volume delete vol", /deleted/],
    ["floating-ip create --name fip --type ipv4 --home-location hel1", /Floating IP \d+ created/],
    ["floating-ip list", /fip/],
    ["floating-ip assign fip bare", /assigned/],
    ["floating-ip unassign fip", /unassigned/],
    ["floating-ip delete fip", /deleted/],
    ["server delete bare", /deleted/],
  ],
};

describe("Hetzner emulator: Debian's hcloud-cli", function () {
  // The first run on a machine fetches it.
  this.timeout(60_000);
  let rig: ClientRig;
  const results = new Map<Operation, CliResult>();
  before(async () => {
    rig = await startClientRig();
    const hcloud = await hcloudCli(rig.hetzner);
    await Promise.all(Object.values(chains).map((chain) => run(hcloud, chain)));
  });
  after(() => rig?.close());

  async function run(hcloud: Cli, chain: readonly Operation[]): Promise<void> {
    const values: Record<string, string> = { key: publicKey("c"), "key-2": publicKey("d") };
    for (const operation of chain) {
      const words = operation[0]
        .split(" ")
        .map((word) => word.replace(/^\{(.*)\}$/, (_all, name) => values[name] ?? ""));
      const result = await hcloud(...words);
      results.set(operation, result);
      const [, id] = /\b(\d+) created/.exec(result.stdout) ?? [];
      const [, ip] = /\b(198\.\d+\.\d+\.\d+)\b/.exec(result.stdout) ?? [];
      const [, address] = /IPv4:\s+ID:\s+(\d+)/.exec(result.stdout) ?? [];
      Object.assign(values, id && { id }, ip && { ip }, address && { address });
    }
  }

  for (const [title, chain] of Object.entries(chains)) {
    describe(title, () => {
      for (const operation of chain) {
        const [typed, printed] = operation;
        it(typed, () => {
          const { exitCode, stdout, stderr } = results.get(operation) ?? {
            exitCode: -1,
            stdout: "",
            stderr: "",
          };
          assert.equal(exitCode, 0, stderr);
          assert.match(stdout, printed);
        });
      }
    });
  }

  it("runs 40 and more different operations, and leaves nothing to pay", () => {
    const typed = Object.values(chains).flatMap((chain) => chain.map(([text]) => text));
    const kinds = new Set(typed.map((text) => text.split(" ", 2).join(" ")));
    assert.ok(kinds.size >= 40, String(kinds.size));
    assert.equal(rig.hetzner.bill().owedPerHour, 0, JSON.stringify(rig.hetzner.bill().lines));
  });
});
