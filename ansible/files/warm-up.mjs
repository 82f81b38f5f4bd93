/**
 * Run on the machine by prepare.yml, as the agent's user, from stdin: waits until the gateway has started, makes one
 * chat turn against a model server of its own, and leaves nothing of it behind. Without that turn the customer's
 * first reply takes 5-7 s, with it half a second: the agent's code is loaded and compiled on first use.
 *
 *   node --input-type=module - <config file> <.env file> <gateway port> <seconds> warm|check   < warm-up.mjs
 *
 * The provider `warmup` is in the config only while this runs; the file's own bytes are put back at the end. Ends
 * with one line of JSON on stdout, or with a line on stderr and status 1.
 */
import { once } from "node:events";
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";

const [configFile, envFile, port, seconds, task] = process.argv.slice(2);
const deadline = Date.now() + Number(seconds) * 1000;
const token = /^CLAW_GATEWAY_TOKEN=['"]?([^'"\s]+)/m.exec(readFileSync(envFile, "utf8"))?.[1];
const began = Date.now();

/** Asks `probe` every 200 ms until it gives something other than null. */
async function until(what, probe) {
  for (;;) {
    const found = await probe();
    if (found !== null) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** From an address of its own: the gateway slows down whoever asked without a good token. */
function get(path, headers = {}) {
  return new Promise((resolve) => {
    const options = {
      host: "127.0.0.1",
      port,
      path,
      headers,
      agent: false,
      timeout: 5_000,
      localAddress: "127.86.13.8",
    };
    const request = http.get(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(0));
  });
}

/** The least that the OpenAI completions API needs for one turn, streamed or not. */
async function startModel() {
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const streamed = body.includes('"stream":true');
    const base = { id: "warmup", created: 0, model: "warm" };
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    response.setHeader("content-type", streamed ? "text/event-stream" : "application/json");
    if (streamed) {
      const chunk = (choice) =>
        `data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, ...choice }] })}\n\n`;
      response.write(chunk({ delta: { role: "assistant", content: "warm" }, finish_reason: null }));
      response.end(`${chunk({ delta: {}, finish_reason: "stop" })}data: [DONE]\n\n`);
    } else {
      const message = { role: "assistant", content: "warm" };
      const choices = [{ index: 0, message, finish_reason: "stop" }];
      response.end(JSON.stringify({ ...base, object: "chat.completion", choices, usage }));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/v1`, close: () => server.close() };
}

/** The gateway's control connection, as its own tools open it from loopback. */
async function openControl() {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  const waiting = new Map();
  let serial = 0;
  let challenged;
  const challenge = new Promise((resolve, reject) => {
    challenged = resolve;
    socket.addEventListener("close", ({ code }) => {
      const error = new Error(`the gateway closed the control connection (${code})`);
      reject(error);
      for (const call of waiting.values()) call.reject(error);
    });
  });
  socket.addEventListener("error", () => {});
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.event === "connect.challenge") challenged();
    if (message.type !== "res") return;
    const { resolve, reject } = waiting.get(message.id) ?? {};
    waiting.delete(message.id);
    if (message.ok) resolve?.(message.payload);
    else reject?.(new Error(`${message.error?.code}: ${message.error?.message}`));
  });
  const call = (method, params) =>
    new Promise((resolve, reject) => {
      const id = String(++serial);
      waiting.set(id, { resolve, reject });
      socket.send(JSON.stringify({ type: "req", id, method, params }));
    });
  await challenge;
  await call("connect", {
    minProtocol: 4,
    maxProtocol: 4,
    client: { id: "gateway-client", version: "1", platform: "linux", mode: "backend" },
    role: "operator",
    scopes: ["operator.admin"],
    caps: [],
    auth: { token },
  });
  return { call, close: () => socket.close() };
}

/** Replaces the config, which the gateway watches, with these bytes. */
function writeConfig(text) {
  writeFileSync(`${configFile}.warmup`, text, { mode: statSync(configFile).mode & 0o777 });
  renameSync(`${configFile}.warmup`, configFile);
}

async function turn(control, original) {
  const model = await startModel();
  const config = JSON.parse(original);
  config.models ??= {};
  config.models.providers = {
    ...config.models.providers,
    warmup: {
      baseUrl: model.url,
      api: "openai-completions",
      apiKey: "warmup",
      models: [{ id: "warm", name: "warm" }],
    },
  };
  // The list of models is the gateway's own view: when it changes, the new config is in force. While it is being
  // made again the call fails with UNAVAILABLE, which is no answer.
  const listed = async (wanted) => {
    const models = await control.call("models.list", {}).catch(() => null);
    return models !== null && JSON.stringify(models).includes('"warmup"') === wanted ? true : null;
  };
  try {
    writeConfig(JSON.stringify(config));
    await until("the gateway takes the warm-up's provider", () => listed(true));
    const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "x-openclaw-model": "warmup/warm",
      },
      body: JSON.stringify({ model: "openclaw/default", messages: [{ role: "user", content: "warm-up" }] }),
      signal: AbortSignal.timeout(Math.max(1, deadline - Date.now())),
    });
    const reply = await response.text();
    if (!response.ok || !reply.includes("warm"))
      throw new Error(`the warm-up turn gave ${response.status}: ${reply.slice(0, 300)}`);
  } finally {
    writeConfig(original);
    await until("the gateway drops the warm-up's provider", () => listed(false));
    model.close();
  }
  const { sessions = [] } = await control.call("sessions.list", {});
  for (const { key } of sessions) await control.call("sessions.delete", { key, deleteTranscript: true });
  return sessions.length;
}

try {
  await until("the gateway's start", async () => ((await get("/startupz")) === 200 ? true : null));
  const startedMs = Date.now() - began;
  let sessions = 0;
  if (task === "warm") {
    const control = await openControl();
    sessions = await turn(control, readFileSync(configFile, "utf8"));
    control.close();
  }
  const accepted = await get("/v1/models", { authorization: `Bearer ${token}` });
  const refused = await get("/v1/models");
  if (accepted !== 200) throw new Error(`the gateway answers ${accepted} to the pool's token`);
  if (refused !== 401) throw new Error(`the gateway answers ${refused} without a token`);
  console.log(
    JSON.stringify({ startedMs, warmMs: Date.now() - began - startedMs, sessionsDeleted: sessions }),
  );
} catch (error) {
  console.error(`warm-up: ${error.message}`);
  process.exitCode = 1;
}
process.exit();
