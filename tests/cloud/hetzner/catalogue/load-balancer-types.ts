import { locations } from "./locations.ts";
import { hourlyNet, netAndGross } from "./pricing.ts";

/** Limits of docs.hetzner.com, Cloud, Load Balancers; the prices are those of 2025. */
export interface LoadBalancerType {
  readonly id: number;
  readonly name: string;
  readonly connections: number;
  readonly services: number;
  readonly targets: number;
  readonly certificates: number;
  /** EUR net */
  readonly monthly: number;
}

export const loadBalancerTypes: readonly LoadBalancerType[] = [
  { id: 1, name: "lb11", connections: 10_000, services: 5, targets: 25, certificates: 10, monthly: 5.39 },
  { id: 2, name: "lb21", connections: 20_000, services: 15, targets: 75, certificates: 25, monthly: 16.4 },
  { id: 3, name: "lb31", connections: 40_000, services: 30, targets: 150, certificates: 50, monthly: 32.9 },
];

/** By name or by id in decimal. */
export function findLoadBalancerType(idOrName: string): LoadBalancerType | undefined {
  return loadBalancerTypes.find((known) => known.name === idOrName || String(known.id) === idOrName);
}

/** TB in Europe, in bytes as Hetzner counts them. */
export const loadBalancerTraffic = (location: string) =>
  (["ash", "hil", "sin"].includes(location) ? 1 : 20) * 2 ** 40;

export function presentLoadBalancerPrices(type: LoadBalancerType): Record<string, unknown>[] {
  return locations.map(({ name }) => ({
    location: name,
    price_hourly: netAndGross(hourlyNet(type.monthly)),
    price_monthly: netAndGross(type.monthly),
    included_traffic: loadBalancerTraffic(name),
    price_per_tb_traffic: netAndGross(name === "sin" ? 7.4 : 1),
  }));
}

export const presentLoadBalancerType = (type: LoadBalancerType): Record<string, unknown> => ({
  id: type.id,
  name: type.name,
  description: type.name.toUpperCase(),
  max_connections: type.connections,
  max_services: type.services,
  max_targets: type.targets,
  max_assigned_certificates: type.certificates,
  deprecated: null,
  deprecation: null,
  prices: presentLoadBalancerPrices(type),
});
