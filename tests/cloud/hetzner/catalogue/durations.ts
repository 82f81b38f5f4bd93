/**
 * How long Hetzner's asynchronous actions take, in milliseconds. Hetzner publishes no figures; these are from
 * reports of users, and the rest is estimated from them.
 *
 * - create_server + start_server: a server from a stock image is up in about 16-22 s (karpenter's Hetzner provider
 *   speaks of a "20-second boot", 2026-09; terraform "Creation complete after 22s", 2024-09, polls included).
 * - delete_server: terraform shows 5-7 s ("Destruction complete after 6s").
 * - power actions: 3-5 s in terraform and CLI transcripts; `shutdown` only says that the signal was sent.
 * - firewall, network, protection and placement group actions: done within the first one or two polls, about 1 s.
 */
export const durations = {
  create_server: 12_000,
  start_server: 4_000,
  delete_server: 6_000,
  stop_server: 4_000,
  shutdown_server: 1_000,
  reboot_server: 3_000,
  reset_server: 4_000,
  change_protection: 500,
  attach_to_network: 2_000,
  detach_from_network: 2_000,
  add_to_placement_group: 1_000,
  remove_from_placement_group: 1_000,
  set_firewall_rules: 1_000,
  apply_firewall: 1_500,
  remove_firewall: 1_500,
  add_subnet: 1_000,
  delete_subnet: 1_000,
} as const satisfies Record<string, number>;

export type Command = keyof typeof durations;

/** Spread of a duration around its figure, to both sides. */
export const jitter = 0.15;

/** By how much `fast` divides every duration: creating takes 0.16 s, still long enough to be seen running. */
export const fastSpeed = 100;
