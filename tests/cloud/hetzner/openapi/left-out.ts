/**
 * What Hetzner's API description has and the emulator does not, by the first part of the path. All of it answers 404
 * "api route not found", as the API does for what it has not. Storage boxes have an API and a description of their own.
 */
export const leftOut = {
  load_balancers: "load balancers, with their services and targets",
  load_balancer_types: "types of load balancers",
  certificates: "certificates, which only load balancers use",
  zones: "DNS zones and their records",
} as const;
