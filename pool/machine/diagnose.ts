/** What a heartbeat saw, in one word and a sentence. */
import type { TailnetDevice } from "../tailnet/tailnet.ts";
import type { HealthReply } from "./hand-over-session.ts";
import type { RepairedUnit } from "./protocol.ts";

export const healthStates = ["healthy", "degraded", "unreachable", "stopped"] as const;
/**
 *   healthy      unit, gateway and tailnet are as they should be
 *   degraded     the machine answers, and something of it does not work
 *   unreachable  the machine does not answer
 *   stopped      switched off on the machine, on purpose: nobody repairs that
 */
export type HealthState = (typeof healthStates)[number];

export interface Diagnosis {
  readonly state: HealthState;
  readonly reason: string | null;
  /** The unit whose restart may help. */
  readonly repair: RepairedUnit | null;
}

const say = (state: HealthState, reason: string | null, repair: RepairedUnit | null = null): Diagnosis => ({
  state,
  reason,
  repair,
});

/**
 * @param device what Tailscale's API says of the machine; undefined when it was not asked or did not answer, which says
 *   nothing of the machine; null when the device is gone
 */
export function diagnose(reply: HealthReply, device: TailnetDevice | null | undefined): Diagnosis {
  // `systemctl stop` leaves `inactive`; a gateway that crashes is `activating`, and `failed` in the end.
  if (reply.unit === "inactive") return say("stopped", "the gateway's unit was stopped on the machine");
  if (reply.tailnet === "Stopped") return say("stopped", "Tailscale was switched off on the machine");
  if (reply.unit !== "active") return say("degraded", `the gateway's unit is ${reply.unit}`, "gateway");
  if (!reply.gateway) return say("degraded", "the gateway does not answer", "gateway");
  if (reply.tailnet === "unreachable") {
    if (reply.tailscaled === "inactive") return say("stopped", "tailscaled was stopped on the machine");
    return say(
      "degraded",
      `tailscaled does not answer (its unit is ${reply.tailscaled ?? "unknown"})`,
      "tailscaled",
    );
  }
  if (!["Running", "absent"].includes(reply.tailnet)) return say("degraded", `Tailscale is ${reply.tailnet}`);
  if (reply.relay === false)
    return say("degraded", "other nodes cannot find the machine: it has no home relay");
  if (device === null) return say("degraded", "its device is gone from the tailnet");
  if (device?.connectedToControl === false) return say("degraded", "Tailscale does not show it as connected");
  return say("healthy", null);
}
