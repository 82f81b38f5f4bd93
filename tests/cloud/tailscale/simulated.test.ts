/** The contracts of API and faults on the simulated tailnet. On real tailscaled: real.test.ts. */
import { apiContract } from "./contract.ts";
import { faultContract } from "./fault-contract.ts";
import { simulatedRig } from "./rig.ts";

apiContract("simulated", simulatedRig);
faultContract("simulated", simulatedRig);
