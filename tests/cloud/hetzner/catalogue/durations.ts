import { createHash } from "node:crypto";

/** Milliseconds: half of all take less than `median`, nine of ten less than `p90`. */
export interface Spread {
  readonly median: number;
  readonly p90: number;
}

const spread = (median: number, p90: number): Spread => ({ median, p90 });

/**
 * How long Hetzner's asynchronous actions take. Hetzner publishes no figures. What a line's comment names is where its
 * median comes from; "estimated" ones follow from those, and every p90 is estimated.
 */
export const durations = {
  // With start_server a stock image is up in 16-22 s: a "20-second boot" (karpenter's Hetzner provider, 2026-09),
  // "Creation complete after 22s" (terraform, 2024-09, polls included).
  create_server: spread(12_000, 16_000),
  // About a minute with polls (terraform-provider-hcloud issue 966, 2024), 5 min and more for big ones (kubernetes
  // autoscaler raised its time-out from 1 to 5 min, 2021).
  create_server_from_snapshot: spread(45_000, 110_000),
  start_server: spread(4_000, 5_500),
  // terraform: "Destruction complete after 6s".
  delete_server: spread(6_000, 8_000),
  // Power actions take 3-5 s in transcripts of terraform and CLI.
  stop_server: spread(4_000, 5_500),
  reboot_server: spread(3_000, 4_500),
  reset_server: spread(4_000, 5_500),
  // Says only that the signal was sent; estimated.
  shutdown_server: spread(1_000, 1_500),
  // create_server and start_server in one; estimated.
  rebuild_server: spread(16_000, 22_000),
  // The disk stays where it is and the machine is moved to other limits; estimated.
  change_server_type: spread(15_000, 40_000),
  // 1m9s or 2m11s for the same image, depending on which side of a poll they end (issue 966, 2024).
  create_image: spread(60_000, 120_000),
  // All below are done within the first one or two polls in transcripts; the figures are estimated.
  enable_rescue: spread(1_000, 1_500),
  disable_rescue: spread(1_000, 1_500),
  enable_backup: spread(1_000, 1_500),
  disable_backup: spread(1_000, 1_500),
  attach_iso: spread(1_000, 2_000),
  detach_iso: spread(1_000, 2_000),
  reset_password: spread(2_000, 3_000),
  request_console: spread(1_000, 1_500),
  change_protection: spread(500, 700),
  change_dns_ptr: spread(700, 1_000),
  attach_to_network: spread(2_000, 3_000),
  detach_from_network: spread(2_000, 3_000),
  change_alias_ips: spread(1_000, 1_500),
  add_to_placement_group: spread(1_000, 1_500),
  remove_from_placement_group: spread(1_000, 1_500),
  set_firewall_rules: spread(1_000, 1_400),
  apply_firewall: spread(1_500, 2_200),
  remove_firewall: spread(1_500, 2_200),
  add_subnet: spread(1_000, 1_400),
  delete_subnet: spread(1_000, 1_400),
  add_route: spread(1_000, 1_400),
  delete_route: spread(1_000, 1_400),
  change_ip_range: spread(1_000, 1_400),
  create_primary_ip: spread(1_000, 1_500),
  assign_primary_ip: spread(1_500, 2_500),
  unassign_primary_ip: spread(1_500, 2_500),
  create_floating_ip: spread(1_000, 1_500),
  assign_floating_ip: spread(1_000, 1_500),
  unassign_floating_ip: spread(1_000, 1_500),
  create_volume: spread(2_000, 4_000),
  attach_volume: spread(2_500, 4_000),
  detach_volume: spread(2_000, 3_500),
  resize_volume: spread(2_000, 3_500),
  create_load_balancer: spread(4_000, 7_000),
  change_load_balancer_type: spread(3_000, 5_000),
  change_algorithm: spread(1_000, 1_500),
} as const satisfies Record<string, Spread>;

/** What a duration is known for: a command, or a command under circumstances that make it slower. */
export type Timing = keyof typeof durations;

export type Command = Exclude<Timing, "create_server_from_snapshot">;

/** By how much `fast` divides every duration: creating takes 0.16 s, still long enough to be seen running. */
export const fastSpeed = 100;

/** Standard normal quantile of 90 %. */
const z90 = 1.2816;
/** No draw lies further out than this many standard deviations: 1 in 370, on both sides. */
const furthest = 3;

/**
 * Milliseconds, drawn from the log-normal distribution with the catalogue's quantiles: durations are never negative
 * and have a long tail to one side. The same for the same seed, timing and number.
 *
 * @param nth the how many-th of its command it is, over the whole life of the emulator
 */
export function drawDuration(timing: Timing, seed: number, nth: number): number {
  const { median, p90 } = durations[timing];
  const hash = createHash("sha256").update(`${seed}:${timing}:${nth}`).digest();
  // Box-Muller on two uniform numbers in (0, 1].
  const uniform = (offset: number) => (hash.readUInt32BE(offset) + 1) / 2 ** 32;
  const normal = Math.sqrt(-2 * Math.log(uniform(0))) * Math.cos(2 * Math.PI * uniform(4));
  const bounded = Math.max(-furthest, Math.min(furthest, normal));
  return median * Math.exp((Math.log(p90 / median) / z90) * bounded);
}
