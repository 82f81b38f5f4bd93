import type { Effects } from "./actions/engine.ts";
import { actionRoutes } from "./actions/routes.ts";
import type { Route } from "./http/router.ts";
import { catalogueRoutes } from "./resources/catalogue.ts";
import { firewallRoutes } from "./resources/firewalls.ts";
import { networkRoutes } from "./resources/networks.ts";
import { placementGroupRoutes } from "./resources/placement-groups.ts";
import { primaryIpRoutes } from "./resources/primary-ips.ts";
import { serverActionRoutes, serverEffects } from "./resources/server-actions.ts";
import { createEffects } from "./resources/server-create.ts";
import { deleteEffects, serverRoutes } from "./resources/servers.ts";
import { sshKeyRoutes } from "./resources/ssh-keys.ts";

/** A new kind of resource is a file in resources/ and a line here. */
export const routes: readonly Route[] = [
  ...actionRoutes,
  ...catalogueRoutes,
  ...sshKeyRoutes,
  ...placementGroupRoutes,
  ...firewallRoutes,
  ...networkRoutes,
  ...primaryIpRoutes,
  ...serverRoutes,
  ...serverActionRoutes,
];

/** What an action does when its time has come; commands that are not here only take their time. */
export const effects: Effects = { ...createEffects, ...deleteEffects, ...serverEffects };
