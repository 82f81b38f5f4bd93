/** The production client on an emulated Hetzner. */
import { systemClock } from "../../pool/clock.ts";
import { createBudget } from "../../pool/cloud/budget.ts";
import type { Cloud } from "../../pool/cloud/cloud.ts";
import { createCloud } from "../../pool/cloud/hetzner.ts";
import { createWire, type Wire } from "../../pool/cloud/wire.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import type { Hetzner } from "../cloud/hetzner/hetzner.ts";

const access = ({ endpoint, token }: Hetzner) => ({
  endpoint,
  token: new Secret(token),
  budget: createBudget({ requestsPerHour: 1_000_000, clock: systemClock }),
  clock: systemClock,
});

export const cloudOf = (hetzner: Hetzner): Cloud => createCloud(access(hetzner));
export const wireOf = (hetzner: Hetzner): Wire => createWire(access(hetzner));
