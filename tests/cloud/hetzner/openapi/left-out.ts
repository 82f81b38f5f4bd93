/**
 * What Hetzner's API description has and the emulator does not, by the first part of the path. All of it answers 404
 * "api route not found", as the API does for what it has not. Storage boxes have an API and a description of their own.
 */
export const leftOut = {
  load_balancers: "services, targets, private networks and metrics of load balancers: they carry no traffic",
  certificates: "certificates, which only load balancers use",
  zones: "DNS zones and their records",
} as const;
