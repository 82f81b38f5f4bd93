/** Joining the tailnet by tailscaled's LocalAPI: 20 ms quicker than its command line, and no key in any argv. */
import http from "node:http";
import { Failure, pause } from "./report.mjs";

/** Tailscale's own control plane takes 1-3 s; its command line would wait for ever. */
export const joinDeadlineMs = 25_000;
/** After this a machine whose home relay nobody has confirmed has joined all the same, and is not called reachable. */
const relayDeadlineMs = 1_000;

/** One call to tailscaled's LocalAPI. @throws Failure `tailnet` */
export function localApi(socketPath, method, path, body, timeoutMs = joinDeadlineMs) {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      host: "local-tailscaled.sock",
      ...(text && { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
    };
    const request = http.request({
      socketPath,
      method,
      path: `/localapi/v0/${path}`,
      headers,
      agent: false,
      timeout: timeoutMs,
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", () => reject(new Failure("tailnet", `tailscaled does not answer ${path}`, true)));
    request.on("response", async (response) => {
      if (path.startsWith("watch-ipn-bus") && response.statusCode === 200)
        return resolve({ response, request });
      let answer = "";
      for await (const chunk of response.setEncoding("utf8")) answer += chunk;
      if (response.statusCode >= 300)
        return reject(new Failure("tailnet", `tailscaled answered ${response.statusCode} to ${path}`, true));
      resolve(answer ? JSON.parse(answer) : null);
    });
    request.end(text);
  });
}

/** A tailscaled that hangs takes calls and answers none: whoever only looks does not wait for it as a join does. */
const lookMs = 3_000;

/** What tailscaled says of itself. @throws Failure `tailnet` when it does not answer soon */
export const tailscaleStatus = (facts) =>
  localApi(facts.tailscaleSocket, "GET", "status?peers=false", undefined, lookMs);

/**
 * Reads the notification bus: `running` resolves when it says Running after `begun()` was called, and rejects with what
 * it says is wrong; `relayed` when the control server has our home relay, and so every other node.
 */
function follow({ response }) {
  const first = Promise.withResolvers();
  const running = Promise.withResolvers();
  const relayed = Promise.withResolvers();
  let begun = false;
  const read = async () => {
    let rest = "";
    for await (const chunk of response.setEncoding("utf8")) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines.filter((text) => text.trim() !== "")) {
        const { ErrMessage, State, SelfChange } = JSON.parse(line);
        // tailscaled waits for the control server's limit and tries again by itself.
        if (ErrMessage && !/^node registration rate limited/.test(ErrMessage))
          // The text may quote the key; only its kind is told. A repetition brings another key: this one may have been
          // spent by a try of tailscaled's own whose answer was lost.
          throw new Failure(
            "tailnet",
            `tailscaled refused: ${String(ErrMessage)
              .replace(/tskey-\S+/g, "[key]")
              .slice(0, 200)}`,
            /^invalid key: .* not valid$|timeout|unreachable|refused connection/i.test(ErrMessage),
          );
        first.resolve(State);
        if (begun && State === 6) running.resolve();
        if (begun && SelfChange?.HomeDERP > 0) relayed.resolve();
      }
    }
    throw new Failure("tailnet", "tailscaled ended the watch", true);
  };
  read().catch((error) => {
    first.reject(error);
    running.reject(error);
  });
  // Whichever nobody waits for may fail unheard.
  for (const { promise } of [first, running]) promise.catch(() => {});
  return {
    first: first.promise,
    running: running.promise,
    relayed: relayed.promise,
    begin: () => {
      begun = true;
    },
  };
}

/**
 * Joins (or finds that it has joined under this name), forwards the gateway's port, and says who it is.
 *
 * Running is not yet reachable: until the control server has passed our home relay on, another node's first packet
 * has nowhere to go ("no UDP or DERP addr"), and WireGuard sends its handshake again only after 5 s.
 */
export async function joinTailnet(facts, wanted, step) {
  const api = (method, path, body) => localApi(facts.tailscaleSocket, method, path, body);
  const watch = await api("GET", "watch-ipn-bus?mask=2");
  try {
    const bus = follow(watch);
    const status = () => api("GET", "status?peers=false");
    const joined = (await bus.first) === 6 && (await status()).Self?.HostName === wanted.hostname;
    if (!joined) {
      bus.begin();
      await api("POST", "start", {
        AuthKey: wanted.key,
        UpdatePrefs: {
          ControlURL: wanted.controlUrl ?? "https://controlplane.tailscale.com",
          WantRunning: true,
          LoggedOut: false,
          Hostname: wanted.hostname,
          CorpDNS: false,
          RouteAll: false,
          // 2 = on, as the command line has it: packets that claim a tailnet address on the public interface are dropped.
          NetfilterMode: 2,
        },
      });
      // Even with a key: `start` alone stays in NeedsLogin.
      await Promise.all([bus.running, api("POST", "login-interactive")]);
      step("joined");
    }
    const { port, host } = facts.gateway;
    const relayed = bus.relayed.then(() => true);
    const [{ Self }, known] = await Promise.all([
      status(),
      joined || Promise.race([relayed, pause(relayDeadlineMs)]),
      api("POST", "serve-config", { TCP: { [port]: { TCPForward: `${host}:${port}` } } }),
    ]);
    step(known ? "forwarded" : "relay-unknown");
    const reachable = joined ? Boolean(Self.Relay) : known === true;
    return { address: Self.TailscaleIPs?.[0] ?? null, node: Self.ID ?? null, reachable };
  } finally {
    watch.request.destroy();
  }
}
