import type { Effects } from "../actions/engine.ts";
import type { Route } from "../http/router.ts";
import { accessEffects, accessRoutes } from "./server-access.ts";
import { diskEffects, diskRoutes } from "./server-disk.ts";
import { serverNetworkEffects, serverNetworkRoutes } from "./server-networks.ts";
import { powerEffects, powerRoutes } from "./server-power.ts";
import { settingEffects, settingRoutes } from "./server-settings.ts";

/** Every `POST /servers/{id}/actions/…`, a file for each topic. */
export const serverActionRoutes: readonly Route[] = [
  ...powerRoutes,
  ...diskRoutes,
  ...accessRoutes,
  ...serverNetworkRoutes,
  ...settingRoutes,
];

export const serverEffects: Effects = {
  ...powerEffects,
  ...diskEffects,
  ...accessEffects,
  ...serverNetworkEffects,
  ...settingEffects,
};
