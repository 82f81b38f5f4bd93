/** The OpenClaw gateway on this machine: its control connection, and proofs by HTTP. */
import http from "node:http";
import { Failure, within } from "./report.mjs";

/** While it starts, the gateway says UNAVAILABLE to a good token; a wrong one gets details of AUTH_TOKEN_MISMATCH. */
function refusal({ code, details }) {
  const failure = new Failure("control", `the gateway said ${details?.code ?? code ?? "no"}`, true);
  failure.refused = String(details?.code).startsWith("AUTH_");
  return failure;
}

/**
 * The gateway's control connection. `gateway-client`/`backend` needs no paired device when it comes over loopback:
 * that is OpenClaw's own way in for its tools, and the proving stage exercises it before any customer does.
 *
 * @returns {Promise<{call(method, params): Promise<any>, closed: Promise<number>, alive(): boolean, close(): void}>}
 * @throws Failure `control`; with `.refused` when the gateway does not take the token.
 */
export async function openControl(gateway, token, deadlineMs) {
  const socket = new WebSocket(`ws://${gateway.host}:${gateway.port}/`);
  const waiting = new Map();
  let serial = 0;
  let alive = true;
  let challenged;
  const challenge = new Promise((resolve) => {
    challenged = resolve;
  });
  const closed = new Promise((resolve) => {
    socket.addEventListener("close", ({ code }) => {
      alive = false;
      for (const { reject } of waiting.values())
        reject(new Failure("control", `the gateway closed the connection (${code})`, true));
      waiting.clear();
      resolve(code);
    });
    socket.addEventListener("error", () => {});
  });
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "event" && message.event === "connect.challenge") challenged();
    if (message.type !== "res") return;
    const call = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.ok) call?.resolve(message.payload);
    else call?.reject(refusal(message.error ?? {}));
  });
  const call = (method, params) =>
    new Promise((resolve, reject) => {
      if (!alive) return reject(new Failure("control", "the control connection is closed", true));
      const id = String(++serial);
      waiting.set(id, { resolve, reject });
      socket.send(JSON.stringify({ type: "req", id, method, params }));
    });
  const close = () => socket.close();
  const handshake = async () => {
    const gone = closed.then((code) =>
      Promise.reject(new Failure("control", `no control connection (${code})`, true)),
    );
    await Promise.race([challenge, gone]);
    await call("connect", {
      minProtocol: 4,
      maxProtocol: 4,
      client: { id: "gateway-client", version: "2026.9.6", platform: "linux", mode: "backend" },
      role: "operator",
      scopes: ["operator.admin"],
      caps: [],
      auth: { token },
    });
  };
  try {
    await within(deadlineMs, "control", "the control connection", handshake());
  } catch (error) {
    close();
    throw error;
  }
  return { call, closed, alive: () => alive, close };
}

/** A GET with a token: status (0 when nothing answered) and text. `from` keeps a refusal's delay off other callers. */
function get(gateway, path, { token, from, timeoutMs = 3_000 } = {}) {
  return new Promise((resolve) => {
    const nothing = () => resolve({ status: 0, text: "" });
    const request = http.get({
      host: gateway.host,
      port: gateway.port,
      path,
      localAddress: from,
      agent: false,
      timeout: timeoutMs,
      headers: token ? { authorization: `Bearer ${token}` } : {},
    });
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => {
        text += part;
      });
      response.on("end", () => resolve({ status: response.statusCode, text }));
      response.on("error", nothing);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", nothing);
  });
}

/** Milliseconds since the gateway's process has started, or null while it does not say that it has. */
export async function gatewayUptime(gateway) {
  const { status, text } = await get(gateway, "/startupz");
  if (status !== 200) return null;
  try {
    return JSON.parse(text).uptimeMs ?? 0;
  } catch {
    return null;
  }
}

/** A good token is answered at once here, and the page needs no endpoint to be enabled. */
export const tokenAccepted = async (gateway, token) =>
  (await get(gateway, "/control-ui-config.json", { token })).status === 200;
/** /v1/models checks one secret (250 ms), /control-ui-config.json two (500 ms). */
export async function tokenRefused(gateway, token) {
  const from = gateway.refusalAddress;
  return (await get(gateway, "/v1/models", { token, from, timeoutMs: 8_000 })).status === 401;
}
