/** The emulated Hetzner with the daemon's own client and gate before it, and a store that is compared with it. */
import { pino } from "pino";
import { createBudget } from "../../pool/cloud/budget.ts";
import type { Cloud, Gate } from "../../pool/cloud/cloud.ts";
import { createGate } from "../../pool/cloud/gate/gate.ts";
import { createCloud } from "../../pool/cloud/hetzner.ts";
import { createLedger } from "../../pool/ledger.ts";
import { ownLabels } from "../../pool/machine/labels.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { createDeletions } from "../../pool/sweep/deletions.ts";
import type { PlatformIds } from "../../pool/terraform/terraform.ts";
import { publicKey, type Rig, startRig } from "../cloud/hetzner/rig.ts";
import { exampleConfig } from "../machine/fakes.ts";
import { fastClock } from "../virtual-clock.ts";

export interface LocalCloud {
  /** Its clock is the store's and the sweeps'. */
  readonly hetzner: Rig;
  readonly cloud: Cloud;
  readonly gate: Gate;
  readonly store: Store;
  /** What a sweep wants besides. */
  readonly parts: {
    readonly clock: Rig["clock"];
    readonly config: () => ReturnType<typeof exampleConfig>;
    readonly platform: () => PlatformIds;
    readonly deletions: ReturnType<typeof createDeletions>;
    readonly log: ReturnType<typeof quiet>;
    readonly poke: () => void;
  };
  close(): Promise<void>;
}

const quiet = () => pino({ level: "silent" });

export async function startLocalHetzner(): Promise<LocalCloud> {
  const hetzner = await startRig();
  try {
    const { clock, must } = hetzner;
    const labels = ownLabels("test");
    const name = "clawpool-test";
    const key = await must("POST", "/ssh_keys", { name, public_key: publicKey("P"), labels });
    const firewall = await must("POST", "/firewalls", { name, labels });
    const network = await must("POST", "/networks", { name, ip_range: "10.60.0.0/16", labels });
    const group = await must("POST", "/placement_groups", { name, type: "spread", labels });
    const ids: PlatformIds = {
      sshKey: key.ssh_key.id,
      firewall: firewall.firewall.id,
      network: network.network.id,
      placementGroups: [group.placement_group.id],
    };
    const store = openSqliteStore({ file: ":memory:", sealer: createSealer([newSealingKey()]), clock });
    const wire = fastClock(20);
    const budget = createBudget({ requestsPerHour: 36_000, clock: wire });
    const upstream = { endpoint: hetzner.hetzner.endpoint, token: new Secret(hetzner.hetzner.token) };
    const ledger = createLedger(store, clock, () => false);
    const gate = await createGate({ upstream, ledger, budget, log: quiet(), clock: wire });
    const config = exampleConfig();
    const perHour = () => config.sweeps.deletesPerHour;
    return {
      hetzner,
      cloud: createCloud({ ...upstream, budget, clock: wire }),
      gate,
      store,
      parts: {
        clock,
        config: () => config,
        platform: () => ids,
        deletions: createDeletions({ store, clock, perHour }),
        log: quiet(),
        poke: () => {},
      },
      async close() {
        await gate.close();
        store.close();
        await hetzner.close();
      },
    };
  } catch (error) {
    await hetzner.close();
    throw error;
  }
}
