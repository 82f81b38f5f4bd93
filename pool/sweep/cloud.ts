/**
 * The cloud against the store, both ways: what carries our labels and no row knows costs money that nobody remembers; a
 * row whose server is gone is a machine that nobody can be given. docs/sweeps.md says what is done about each.
 */
import type { Clock } from "../clock.ts";
import type { Cloud, CloudServer } from "../cloud/cloud.ts";
import { type CloudResource, isOwned, type ResourceKind, resourceKinds } from "../cloud/resources.ts";
import { ours, ownLabels } from "../machine/labels.ts";
import type { Machine } from "../machine/machine.ts";
import type { PlatformIds } from "../terraform/terraform.ts";
import {
  disbelief,
  mismatches,
  mustHaveServer,
  platformGaps,
  seenAddresses,
  seenServers,
  strayResources,
  strayServers,
} from "./cloud-findings.ts";
import { cloudFlags, createCloudRepairs, type LookContext, type RepairOptions } from "./cloud-repairs.ts";
import { recall } from "./sightings.ts";
import { answered, type Sweep, type SweepFinding, SweepStopped, toldOnly } from "./sweep.ts";
import { createTelling } from "./tell.ts";

/** Servers are asked for in every look, what costs cents beside them in every second, the rest in every twentieth. */
const rarely: Readonly<Record<ResourceKind, number>> = {
  primary_ip: 2,
  ssh_key: 2,
  volume: 2,
  snapshot: 2,
  firewall: 20,
  network: 20,
  placement_group: 20,
};
/** Of each sort, what is asked for one by one in a look. */
const mostAsked = 20;
/** So many machines lost at once are a person's to believe. */
const manyLost = 3;

export interface CloudSweepOptions extends RepairOptions {
  readonly cloud: Cloud;
  readonly clock: Clock;
  readonly platform: () => PlatformIds;
}

interface Lists {
  readonly servers: readonly CloudServer[];
  /** Without the kinds that were not asked for in this look, or whose list failed. */
  readonly resources: ReadonlyMap<ResourceKind, readonly CloudResource[]>;
}

export function createCloudSweep(options: CloudSweepOptions): Sweep {
  const { store, cloud, clock, config, platform } = options;
  const repairs = createCloudRepairs(options);
  let looks = 0;

  /** Runs `work`; when it fails, that is a gap and not the end of the look. */
  async function attempt(what: string, gaps: string[], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof SweepStopped) throw error;
      gaps.push(`${what}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** A list may lack what exists: what was amiss before is asked for by its id before it counts as gone. */
  async function lists(before: readonly string[], everything: boolean, signal: AbortSignal, gaps: string[]) {
    const { instance } = config();
    const selector = ours(instance);
    const isOurs = ({ labels }: Pick<CloudServer, "labels">) =>
      Object.entries(ownLabels(instance)).every(([label, value]) => labels[label] === value);
    const unlisted = (kind: string, listed: readonly { id: number }[]) =>
      before
        .filter((key) => key.startsWith(`${kind}/`))
        .map((key) => Number(key.slice(kind.length + 1)))
        .filter((id) => !listed.some((one) => one.id === id))
        .slice(0, mostAsked);

    // An API that did not know the selector would give all servers of the project.
    const servers = (await answered(cloud.servers(selector), signal)).filter(isOurs);
    for (const id of unlisted("server", servers)) {
      const server = await answered(cloud.server(id), signal);
      if (server && isOurs(server)) servers.push(server);
    }
    const resources = new Map<ResourceKind, CloudResource[]>();
    for (const kind of resourceKinds) {
      if (!everything && looks % rarely[kind] !== 0) continue;
      await attempt(`the list of ${kind}`, gaps, async () => {
        const found = (await answered(cloud.resources(kind, selector), signal)).filter(isOurs);
        for (const id of unlisted(kind, found)) {
          const resource = await answered(cloud.resource(kind, id), signal);
          if (resource && isOurs(resource)) found.push(resource);
        }
        resources.set(kind, found);
      });
    }
    looks += 1;
    return { servers, resources } satisfies Lists;
  }

  /** Of the rows whose server the list lacks, those of which Hetzner says by id and by name that it has none. */
  async function gone(missing: readonly Machine[], signal: AbortSignal, gaps: string[]): Promise<Machine[]> {
    const found: Machine[] = [];
    if (missing.length === 0) return found;
    await attempt("servers that the list lacks", gaps, async () => {
      // A token of another project would answer 404 to everything: our own key must be there.
      if ((await answered(cloud.resource("ssh_key", platform().sshKey), signal)) === null) {
        throw new Error("Hetzner does not show the platform's own SSH key; is the token another project's?");
      }
      for (const machine of missing.slice(0, mostAsked)) {
        if ((await answered(cloud.server(machine.serverId ?? 0), signal)) !== null) continue;
        if ((await answered(cloud.serverByName(machine.name), signal)) === null) found.push(machine);
      }
    });
    return found;
  }

  /** @param tooMany so many at once that a person must say that it is so */
  function judgeLost(lost: readonly Machine[], tooMany: boolean, look: LookContext): SweepFinding[] {
    const sure = lost.filter(({ name }) => look.sightings.see(`lost/${name}`).confirmed !== null);
    if (tooMany && sure.length > 0) {
      const names = sure.map(({ name }) => name).join(", ");
      const remedy = "if that is so: clawpool reconcile cloud --confirm-losses";
      const text = `Hetzner does not have the servers of ${names}; ${remedy}`;
      look.telling.tell(cloudFlags.manyVanished, "cloud", text);
    }
    return lost.map((machine) => {
      const isSure = sure.includes(machine);
      if (!isSure || !tooMany) return repairs.lose(machine, isSure, look);
      const text = `server ${machine.serverId} of ${machine.name} is one of ${sure.length} that are gone`;
      return { kind: "lost", subject: machine.name, text, done: toldOnly };
    });
  }

  /** Tells what is amiss with the platform's own. */
  function judgePlatform(
    kind: ResourceKind,
    found: readonly CloudResource[],
    { sightings, telling }: LookContext,
  ): SweepFinding[] {
    return platformGaps(kind, found, platform()).map((id) => {
      const subject = `${kind} ${id}`;
      const text = `the platform's ${subject} is not in the list: npx cdktf diff platform shows what is missing`;
      if (sightings.see(`${kind}/${id}`).confirmed !== null) telling.tell(cloudFlags.missing, subject, text);
      return { kind: cloudFlags.missing, subject, text, done: toldOnly };
    });
  }

  function judgeUnknown(stray: CloudResource, { sightings, telling }: LookContext): SweepFinding {
    const subject = `${stray.kind} ${stray.id}`;
    const text = `${subject} (${stray.name}) carries our labels and is not the platform's; it costs nothing and stays`;
    if (sightings.see(`${stray.kind}/${stray.id}`).confirmed !== null)
      telling.tell(cloudFlags.unknown, subject, text);
    return { kind: cloudFlags.unknown, subject, text, done: toldOnly };
  }

  return {
    async run({ dryRun, actor, confirmLosses = false }, signal) {
      const gaps: string[] = [];
      const sightings = recall(store, "cloud", clock.now());
      const { servers, resources } = await lists(sightings.before, actor !== "daemon", signal, gaps);
      // Read after the lists: what was made in between is known by now.
      const expected = mustHaveServer(store);
      const listed = new Set(servers.map(({ id }) => id));
      const missing = expected.filter(({ serverId }) => !listed.has(serverId ?? 0));
      const lost = await gone(missing, signal, gaps);
      const telling = createTelling(store, dryRun, actor);
      const look: LookContext = { sightings, telling, dryRun, actor, now: clock.now(), signal };

      // What Hetzner says by id that it does not have, the list may lack.
      const unproved = expected.filter((machine) => !lost.includes(machine));
      const doubt = disbelief(unproved, listed, config().sweeps.vanishShare);
      if (doubt !== null) {
        gaps.push(`${doubt}; nothing is deleted`);
        telling.tell(cloudFlags.disbelieved, "cloud", `${doubt}; while that is so nothing is deleted`);
      }
      if (!dryRun && doubt === null) {
        const addresses = seenAddresses(resources.get("primary_ip") ?? []);
        store.recordSeen([...seenServers(servers, config().instance), ...addresses]);
      }
      const isMass = lost.length >= manyLost && lost.length > expected.length * config().sweeps.vanishShare;
      const isBelieved = doubt === null && (!isMass || confirmLosses);
      const findings = [
        ...judgeLost(lost, isMass && !confirmLosses, look),
        ...mismatches(servers, expected).map((mismatch) => repairs.correct(mismatch, look)),
      ];
      for (const stray of strayServers(servers, store, sightings.since)) {
        findings.push(await repairs.removeStray(stray, isBelieved, look));
      }
      for (const [kind, found] of resources) {
        const lacks = judgePlatform(kind, found, look);
        findings.push(...lacks);
        for (const stray of strayResources(found, platform(), store, sightings.since)) {
          if (!isOwned(kind)) findings.push(judgeUnknown(stray, look));
          else {
            const facts = { ...stray };
            const isWhole = isBelieved && lacks.length === 0;
            findings.push(await repairs.removeStray({ ...stray, kind, facts }, isWhole, look));
          }
        }
      }
      const isUnasked = (what: string) => {
        const kind = resourceKinds.find((one) => what.startsWith(`${one}/`) || what.startsWith(`${one} `));
        return kind !== undefined && !resources.has(kind);
      };
      sightings.unsure((key) => isUnasked(key) || (key.startsWith("lost/") && gaps.length > 0));
      if (!dryRun) sightings.keep();
      telling.takeBack(Object.values(cloudFlags), "a later look did not find it", (kind, subject) => {
        if (kind === cloudFlags.vanished) return missing.some(({ name }) => name === subject);
        return kind === cloudFlags.manyVanished ? gaps.length > 0 : isUnasked(subject);
      });
      const others = [...resources].map(([kind, found]) => `, ${found.length} ${kind}`).join("");
      const looked = `${servers.length} servers${others}; ${expected.length} machines that must have one`;
      return { sweep: "cloud", looked, findings, gaps };
    },
  };
}
