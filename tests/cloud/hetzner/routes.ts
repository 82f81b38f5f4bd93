import type { Effects } from "./actions/engine.ts";
import { actionRoutes } from "./actions/routes.ts";
import type { Route } from "./http/router.ts";
import { catalogueRoutes } from "./resources/catalogue.ts";
import { firewallRoutes } from "./resources/firewalls.ts";
import { floatingIpRoutes } from "./resources/floating-ips.ts";
import { imageRoutes } from "./resources/images.ts";
import { isoRoutes } from "./resources/isos.ts";
import { loadBalancerRoutes } from "./resources/load-balancers.ts";
import { networkEffects } from "./resources/network-actions.ts";
import { networkRoutes } from "./resources/networks.ts";
import { placementGroupRoutes } from "./resources/placement-groups.ts";
import { primaryIpEffects } from "./resources/primary-ip-assignment.ts";
import { primaryIpRoutes } from "./resources/primary-ips.ts";
import { serverActionRoutes, serverEffects } from "./resources/server-actions.ts";
import { createEffects } from "./resources/server-create.ts";
import { metricsRoutes } from "./resources/server-metrics.ts";
import { deleteEffects, serverRoutes } from "./resources/servers.ts";
import { sshKeyRoutes } from "./resources/ssh-keys.ts";
import { volumeEffects } from "./resources/volume-actions.ts";
import { volumeRoutes } from "./resources/volumes.ts";

/** A new kind of resource is a file in resources/ and a line here. */
export const routes: readonly Route[] = [
  ...actionRoutes,
  ...catalogueRoutes,
  ...imageRoutes,
  ...isoRoutes,
  ...sshKeyRoutes,
  ...placementGroupRoutes,
  ...firewallRoutes,
  ...networkRoutes,
  ...primaryIpRoutes,
  ...floatingIpRoutes,
  ...volumeRoutes,
  ...loadBalancerRoutes,
  ...serverRoutes,
  ...metricsRoutes,
  ...serverActionRoutes,
];

/** What an action does when its time has come; commands that are not here only take their time. */
export const effects: Effects = {
  ...createEffects,
  ...deleteEffects,
  ...serverEffects,
  ...networkEffects,
  ...primaryIpEffects,
  ...volumeEffects,
};
