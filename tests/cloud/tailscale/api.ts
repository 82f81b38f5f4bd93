/**
 * The local tailnet: Tailscale's API v2 in front of a control server. What Tailscale documents is kept (shapes, status
 * codes, scopes, tag rules, one-hour tokens, webhooks); where its texts are not public, ours say what happened.
 */
import { once } from "node:events";
import type { Server } from "node:http";
import { type Clock, systemClock } from "../../../pool/clock.ts";
import { type Call, startApp } from "./app.ts";
import type { TailscaleBinaries } from "./build.ts";
import { ShiftedClock } from "./clock.ts";
import { type Control, type ControlDevice, realControl, type TailnetSettings } from "./control.ts";
import { Faults } from "./faults.ts";
import { createOAuth, type OAuth } from "./oauth.ts";
import { simulatedControl } from "./simulated.ts";
import { Webhooks } from "./webhooks.ts";

export interface LocalTailscale {
  /** Ends in /api/v2. */
  readonly apiUrl: string;
  /** For machines: `--login-server`, or the base of `/_local/register` when simulated. */
  readonly controlUrl: string;
  /** Of a client with the scopes that the product needs, auth_keys and devices:core. */
  readonly clientId: string;
  readonly clientSecret: string;
  /** For other clients. */
  readonly oauth: Pick<OAuth, "createClient" | "removeClient">;
  /** `POST {authKey, hostname, machineKey?}` → `{nodeId, name, addresses}` or 403 `{message}`; null when real. */
  readonly registerUrl: string | null;
  /** The tailnet itself, past the API. */
  readonly control: Control;
  readonly faults: Faults;
  readonly webhooks: Pick<Webhooks, "deliveries" | "waitForDelivery">;
  /** Requests to the API so far, oldest first. */
  readonly calls: readonly Call[];
  devices(): Promise<readonly ControlDevice[]>;
  /** The first device for which `predicate` holds, as soon as there is one. */
  waitForDevice(predicate: (device: ControlDevice) => boolean, signal?: AbortSignal): Promise<ControlDevice>;
  /** Resolves with the list as soon as `predicate` holds for it. */
  waitForDevices(
    predicate: (devices: readonly ControlDevice[]) => boolean,
    signal?: AbortSignal,
  ): Promise<readonly ControlDevice[]>;
  /** Puts the tailnet's clock forward: tokens, auth keys and node keys grow old by it, waiting retries become due. */
  advance(ms: number): Promise<void>;
  /** Everything this started is gone when it resolves. */
  close(): Promise<void>;
}

interface StartTailscaleOptions extends TailnetSettings {
  readonly mode: "real" | "simulated";
  /** For logs. */
  readonly dir: string;
  /** Where nodes reach the control server (mode real), e.g. a bridge's address. Default 127.0.0.1. */
  readonly listenHost?: string;
  /** Needed in mode real. */
  readonly binaries?: TailscaleBinaries;
  /** Tags that keys may carry; the client's own tag, tag:claw-ctl, owns them. */
  readonly tags?: readonly string[];
  /** Of the API and a simulated tailnet. Default: the computer's, which a real control server always goes by. */
  readonly clock?: Clock;
}

const clientTag = "tag:claw-ctl";
/** In the form that tailnets made since October 2025 have. */
const tailnetId = "Tclawpool1CNTRL";

/** Starts control server and API; the API listens on loopback. */
export async function startTailscale(options: StartTailscaleOptions): Promise<LocalTailscale> {
  const { tags = ["tag:claw-vm", "tag:claw-pool"], deviceApproval = false, keyLifeDays = 180 } = options;
  const settings = { deviceApproval, keyLifeDays };
  const clock = new ShiftedClock(options.clock ?? systemClock);
  const simulated = options.mode === "simulated" ? simulatedControl({ clock, ...settings }) : null;
  const control = simulated ?? (await startControl(options, settings));
  const oauth = createOAuth(() => clock.now());
  const client = oauth.createClient({ scopes: ["auth_keys", "devices:core"], tags: [clientTag] });
  const faults = new Faults(control);
  const webhooks = new Webhooks({ clock, tailnet: tailnetId });
  const closing = new AbortController();
  const calls: Call[] = [];
  const advance = async (ms: number) => {
    clock.advance(ms);
    await control.advance(ms);
  };
  const { server, port } = await startApp({
    control,
    simulated,
    oauth,
    webhooks,
    faults,
    clock,
    tailnetId,
    tagOwners: Object.fromEntries(tags.map((tag) => [tag, [clientTag]])),
    calls,
    advance,
    signal: closing.signal,
  });
  const base = `http://127.0.0.1:${port}`;
  const telling = tell(control, webhooks, closing.signal);
  const waitForDevices: LocalTailscale["waitForDevices"] = async (predicate, signal) => {
    const either = signal ? AbortSignal.any([closing.signal, signal]) : closing.signal;
    for (let after: number | undefined; ; ) {
      const { version, devices } = await control.devices(after, either);
      if (predicate(devices)) return devices;
      after = version;
    }
  };
  return {
    apiUrl: `${base}/api/v2`,
    controlUrl: control.url ?? base,
    clientId: client.id,
    clientSecret: client.secret,
    oauth,
    registerUrl: simulated ? `${base}/_local/register` : null,
    control,
    faults,
    webhooks,
    calls,
    devices: async () => (await control.devices()).devices,
    waitForDevices,
    async waitForDevice(predicate, signal) {
      const found = (await waitForDevices((list) => list.some(predicate), signal)).find(predicate);
      if (!found) throw new Error("the device left between two looks");
      return found;
    },
    advance,
    async close() {
      closing.abort(new Error("the local tailnet was closed"));
      await closeServer(server);
      await webhooks.close();
      await telling;
      await control.close();
    },
  };
}

function startControl(options: StartTailscaleOptions, settings: TailnetSettings): Promise<Control> {
  const { binaries, dir, listenHost = "127.0.0.1" } = options;
  if (!binaries) throw new Error("mode real needs the built binaries");
  return realControl({ binary: binaries.control, dir, host: listenHost, ...settings });
}

/** Passes the tailnet's events to the webhooks until `signal`. */
async function tell(control: Control, webhooks: Webhooks, signal: AbortSignal): Promise<void> {
  try {
    for (let last = 0; ; ) {
      for (const event of await control.events(last, signal)) {
        webhooks.publish(event);
        last = event.seq;
      }
    }
  } catch (error) {
    if (!signal.aborted) console.error("local tailnet: webhooks ended:", error);
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}
