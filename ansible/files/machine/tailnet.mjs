/** Joining the tailnet by tailscaled's LocalAPI: 20 ms quicker than its command line, and no key in any argv. */
import http from "node:http";
import { Failure } from "./report.mjs";

/** Tailscale's own control plane takes 1-3 s; its command line would wait for ever. */
export const joinDeadlineMs = 25_000;

/** One call to tailscaled's LocalAPI. @throws Failure `tailnet` */
export function localApi(socketPath, method, path, body) {
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
      timeout: joinDeadlineMs,
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

/** Resolves when the notification bus says Running; rejects with what it says is wrong. */
async function untilRunning({ response }) {
  let rest = "";
  for await (const chunk of response.setEncoding("utf8")) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.filter((text) => text.trim() !== "")) {
      const notice = JSON.parse(line);
      // The text may quote the key; only its kind is told.
      if (notice.ErrMessage)
        throw new Failure(
          "tailnet",
          `tailscaled refused: ${String(notice.ErrMessage)
            .replace(/tskey-\S+/g, "[key]")
            .slice(0, 200)}`,
          /timeout|unreachable|refused connection/i.test(notice.ErrMessage),
        );
      if (notice.State === 6) return;
    }
  }
  throw new Failure("tailnet", "tailscaled ended the watch", true);
}

/** Joins (or finds that it has joined under this name), forwards the gateway's port, and says who it is. */
export async function joinTailnet(facts, wanted, step) {
  const api = (method, path, body) => localApi(facts.tailscaleSocket, method, path, body);
  const before = await api("GET", "status?peers=false");
  if (before.BackendState !== "Running" || before.Self?.HostName !== wanted.hostname) {
    const watch = await api("GET", "watch-ipn-bus?mask=2");
    try {
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
      const running = untilRunning(watch);
      await Promise.all([running, api("POST", "login-interactive")]);
    } finally {
      watch.request.destroy();
    }
    step("joined");
  }
  const { port, host } = facts.gateway;
  await api("POST", "serve-config", { TCP: { [port]: { TCPForward: `${host}:${port}` } } });
  const { Self } = await api("GET", "status?peers=false");
  step("forwarded");
  return { address: Self.TailscaleIPs?.[0] ?? null, node: Self.ID ?? null };
}
