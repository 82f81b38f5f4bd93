/**
 * The tailnet against the store, both ways: a device that outlived its machine can still be reached by whoever could reach
 * it, and nothing else ever takes it away, because the keys of tagged devices do not expire. Devices without our tags, and
 * those whose names are not of this installation, are nobody's business here.
 */
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config, SweepsConfig } from "../config/config.ts";
import { isLive, isOwnName, type Machine, type MachineName } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";
import { isKeyOf } from "../tailnet/key-stock.ts";
import type { AuthKeyShown, Tailnet, TailnetDevice } from "../tailnet/tailnet.ts";
import type { Deletions } from "./deletions.ts";
import { isDue, recall } from "./sightings.ts";
import { answered, onceMore, type Sweep, type SweepFinding, SweepStopped, toldOnly } from "./sweep.ts";
import { createTelling } from "./tell.ts";

/** A key is in use from when a hand-over took it until the machine has joined; both clocks may differ a little. */
const inUseMs = 5 * 60_000;
const mostAsked = 20;

export const tailnetFlags = {
  leftover: "tailnet-orphan",
  missing: "tailnet-missing",
  disbelieved: "tailnet-list-not-believed",
} as const;

export interface TailnetSweepOptions {
  readonly store: Store;
  readonly tailnet: Tailnet;
  readonly clock: Clock;
  readonly config: () => {
    readonly instance: string;
    readonly sweeps: SweepsConfig;
    readonly tailnet: Pick<NonNullable<Config["tailnet"]>, "tags" | "rehearsalTags"> | null;
  };
  readonly deletions: Deletions;
  readonly log: Logger;
}

export function createTailnetSweep(options: TailnetSweepOptions): Sweep {
  const { store, tailnet, clock, config, deletions, log } = options;
  /** Keys that an earlier daemon held in memory are lost with it. */
  const startedAt = clock.now();

  async function listDevices(signal: AbortSignal): Promise<TailnetDevice[]> {
    const { tags = [], rehearsalTags = [] } = config().tailnet ?? {};
    const found = new Map<string, TailnetDevice>();
    for (const tag of new Set([...tags, ...rehearsalTags])) {
      for (const device of await answered(tailnet.devices(tag), signal)) found.set(device.nodeId, device);
    }
    return [...found.values()].filter(isTagged);
  }

  /** Machines that serve and whose device Tailscale says by its id that it does not have. */
  async function missing(devices: readonly TailnetDevice[], signal: AbortSignal) {
    const listed = new Set(devices.map(({ nodeId }) => nodeId));
    const expected = store
      .machines({ states: ["serving"] })
      .filter(({ tailnetNode }) => tailnetNode !== null);
    const unlisted = expected.filter(({ tailnetNode }) => !listed.has(tailnetNode ?? ""));
    const gone: Machine[] = [];
    for (const machine of unlisted.slice(0, mostAsked)) {
      const device = await answered(tailnet.device(machine.tailnetNode ?? ""), signal);
      if (device === null) gone.push(machine);
    }
    return { expected: expected.length, gone, lacking: unlisted.length - gone.length };
  }

  const isLeftover = ({ hostname, nodeId }: TailnetDevice): boolean => {
    if (!isOwnName(config().instance, hostname)) return false;
    if (isLive(store.machine(hostname as MachineName))) return false;
    return !store.machines({ live: true }).some(({ tailnetNode }) => tailnetNode === nodeId);
  };

  const isLeftoverKey = ({ description, createdAt }: AuthKeyShown): boolean =>
    isKeyOf(config().instance, description) && createdAt < startedAt - inUseMs;

  return {
    async run({ dryRun, actor }, signal) {
      const findings: SweepFinding[] = [];
      const gaps: string[] = [];
      const sightings = recall(store, "tailnet", clock.now());
      const { sweeps } = config();
      const devices = await listDevices(signal);
      for (const key of sightings.before.filter((one) => one.startsWith("device/")).slice(0, mostAsked)) {
        const nodeId = key.slice("device/".length);
        if (devices.some((device) => device.nodeId === nodeId)) continue;
        const device = await answered(tailnet.device(nodeId), signal);
        if (device && isTagged(device)) devices.push(device);
      }
      const { expected, gone, lacking } = await missing(devices, signal);
      const keys = await answered(tailnet.authKeys(), signal);
      const now = clock.now();
      const telling = createTelling(store, dryRun, actor);
      if (lacking > 0) {
        const text = `the list of devices lacks ${lacking} of ${expected} that exist; while that is so nothing is deleted`;
        gaps.push(text);
        telling.tell(tailnetFlags.disbelieved, "tailnet", text);
      }

      for (const { name, tailnetNode, order } of gone) {
        const text = `${name} (order ${order}) serves, and its device ${tailnetNode} is not in the tailnet`;
        const isSure = sightings.see(`missing/${name}`).confirmed !== null;
        if (isSure) telling.tell(tailnetFlags.missing, name, `${text}: it cannot be reached that way`);
        findings.push({ kind: "missing", subject: name, text, done: isSure ? toldOnly : onceMore });
      }
      for (const device of devices.filter(isLeftover)) {
        const seen = sightings.see(`device/${device.nodeId}`);
        const subject = `device ${device.nodeId}`;
        const text = `${subject} (${device.hostname}) has our tag and name, and no machine is called so`;
        const done = await remove();
        if (seen.confirmed !== null) telling.tell(tailnetFlags.leftover, subject, `${text}: ${done}`);
        findings.push({ kind: "leftover", subject, text, done });

        async function remove(): Promise<string> {
          const { createdAt, nodeId } = device;
          if (createdAt === null || createdAt < sightings.since)
            return "not deleted, it is older than this database; delete it by hand if nobody wants it";
          if (!isDue(seen, sweeps.orphanGraceMs, now)) {
            if (seen.asked !== null) return "being deleted";
            return `deleted if still there at ${new Date(seen.first + sweeps.orphanGraceMs).toISOString()}`;
          }
          if (lacking > 0) return "not deleted while the list is not believed";
          if (dryRun) return "would be deleted";
          // Once more, in the moment of the deletion: Tailscale has no conditional delete.
          const shown = await answered(tailnet.device(nodeId), signal);
          if (!shown || !isTagged(shown) || !isLeftover(shown)) return "not deleted, it is another now";
          if (!deletions.take()) return "deleted when the hour's deletions are not used up";
          sightings.ask(`device/${nodeId}`);
          const why = `no machine is called so; first seen ${new Date(seen.first).toISOString()}`;
          return attempt(`${subject} could not be deleted`, () =>
            tailnet.deleteDevice(nodeId, { subject: device.hostname, why }),
          );
        }
      }
      for (const key of keys.filter(isLeftoverKey)) {
        const isSure = sightings.see(`key/${key.id}`).confirmed !== null;
        const text = `auth key ${key.id} (${key.description}) was minted by an earlier daemon and not used`;
        const done = !isSure
          ? onceMore
          : dryRun
            ? "would be revoked"
            : await attempt(`key ${key.id} could not be revoked`, () =>
                tailnet.revokeKey(key.id, { subject: "tailnet", why: "an earlier daemon left it unused" }),
              );
        findings.push({ kind: "key", subject: key.id, text, done });
      }
      if (!dryRun) sightings.keep();
      telling.takeBack(Object.values(tailnetFlags), "a later look did not find it");
      const looked = `${devices.length} devices with our tags, ${keys.length} auth keys; ${expected} machines that serve with one`;
      return { sweep: "tailnet", looked, findings, gaps };

      async function attempt(failure: string, work: () => Promise<void>): Promise<string> {
        try {
          await answered(work(), signal);
          return "done";
        } catch (err) {
          if (err instanceof SweepStopped) throw err;
          log.warn({ err }, failure);
          return `${failure}: ${err instanceof Error ? err.message : err}`;
        }
      }
    },
  };

  function isTagged({ tags }: TailnetDevice): boolean {
    const { tags: own = [], rehearsalTags = [] } = config().tailnet ?? {};
    return [...own, ...rehearsalTags].some((tag) => tags.includes(tag));
  }
}
