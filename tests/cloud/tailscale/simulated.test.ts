/** The API's contract on the simulated tailnet. On real tailscaled: real.test.ts. */
import { apiContract } from "./contract.ts";
import { simulatedRig } from "./rig.ts";

apiContract("simulated", simulatedRig);
