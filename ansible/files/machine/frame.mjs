/** The one frame on stdin: read, checked against its checksum, every field checked. */
import { createHash, timingSafeEqual } from "node:crypto";
import { quoted } from "./env-file.mjs";
import { Failure } from "./report.mjs";

const maxBodyBytes = 256 * 1024;
const maxHeadBytes = 128;
const tokenPattern = /^[A-Za-z0-9_./:@+=-]{24,256}$/;
const namePattern = /^[A-Z_][A-Z0-9_]{0,127}$/;
/** Names that decide what the gateway's process loads or where it looks: never a customer's to set from outside. */
const reservedNames =
  /^(CLAW_GATEWAY_TOKEN|OPENCLAW_.*|NODE_.*|LD_.*|PATH|HOME|SHELL|USER|TMPDIR|XDG_.*|DBUS_.*)$/;

/** Reads exactly one frame from `input`. Anything that differs from the protocol by one byte is a Failure. */
export async function readFrame(input) {
  const refuse = (reason) => new Failure("frame", reason, false);
  let data = Buffer.alloc(0);
  let head = null;
  for await (const chunk of input) {
    data = Buffer.concat([data, chunk]);
    if (!head) {
      const end = data.indexOf(10);
      if (end === -1 && data.length <= maxHeadBytes) continue;
      head = /^clawpool\/1 (0|[1-9][0-9]{0,8}) ([0-9a-f]{64})$/.exec(
        data.subarray(0, Math.max(end, 0)).toString("latin1"),
      );
      if (!head) throw refuse("the frame does not begin with a clawpool/1 line");
      if (Number(head[1]) > maxBodyBytes)
        throw refuse(`a body of ${head[1]} bytes; the most is ${maxBodyBytes}`);
      data = data.subarray(end + 1);
    }
    if (data.length > Number(head[1])) throw refuse("more bytes than the frame's length says");
    if (data.length === Number(head[1])) break;
  }
  if (!head) return null;
  if (data.length < Number(head[1])) throw refuse("the frame was cut off");
  const digest = createHash("sha256").update(data).digest();
  if (!timingSafeEqual(digest, Buffer.from(head[2], "hex")))
    throw refuse("the frame's checksum does not match");
  try {
    return validate(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)));
  } catch (error) {
    throw error instanceof Failure ? error : refuse("the frame's body is not JSON");
  }
}

/** Checks every field; the reasons name fields and rules, never values. */
export function validate(request) {
  const check = (ok, reason) => {
    if (!ok) throw new Failure("frame", reason, false);
  };
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const only = (value, allowed, where) => {
    for (const name of Object.keys(value)) check(allowed.includes(name), `unknown field in ${where}`);
  };
  check(isObject(request), "the body is not an object");
  if (request.op === "health" || request.op === "repair") {
    only(request, request.op === "repair" ? ["op", "unit"] : ["op"], request.op);
    check(
      request.unit === undefined || request.unit === "gateway" || request.unit === "tailscaled",
      "unit: want gateway or tailscaled",
    );
    return request;
  }
  check(request.op === "hand-over", "op: want hand-over, health or repair");
  only(
    request,
    [
      "op",
      "rehearsal",
      "order",
      "generation",
      "currentToken",
      "gatewayToken",
      "env",
      "model",
      "tailnet",
      "dropAdmin",
      "way",
    ],
    "hand-over",
  );
  check(typeof request.rehearsal === "boolean", "rehearsal: want true or false");
  check(typeof request.dropAdmin === "boolean", "dropAdmin: want true or false");
  check(
    typeof request.order === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(request.order),
    "order: want 1-64 of A-Z a-z 0-9 _ -",
  );
  check(
    Number.isSafeInteger(request.generation) && request.generation >= 0,
    "generation: want a whole number",
  );
  for (const name of ["currentToken", "gatewayToken"]) {
    check(
      typeof request[name] === "string" && tokenPattern.test(request[name]),
      `${name}: want 24-256 token characters`,
    );
  }
  check(isObject(request.env), "env: want an object");
  const names = Object.keys(request.env);
  check(names.length <= 200, "env: more than 200 variables");
  for (const name of names) {
    check(namePattern.test(name), "env: a name that is not upper-case letters, digits and _");
    check(!reservedNames.test(name), `env: ${name} is reserved`);
    check(
      typeof request.env[name] === "string" && request.env[name].length <= 16_384,
      `env: ${name} is not a text of at most 16384 characters`,
    );
    check(
      quoted(request.env[name]) !== null,
      `env: ${name} has a character or a mix of quotes that .env cannot carry`,
    );
  }
  if (request.model !== undefined) {
    check(isObject(request.model), "model: want an object");
    only(request.model, ["primary"], "model");
    check(
      typeof request.model.primary === "string" &&
        /^[a-z0-9][a-z0-9_-]{0,63}\/[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/.test(request.model.primary),
      "model.primary: want provider/model",
    );
  }
  check(
    request.way === undefined || request.way === "reload" || request.way === "restart",
    "way: want reload or restart",
  );
  const tailnet = request.tailnet;
  if (tailnet !== null) {
    check(isObject(tailnet), "tailnet: want an object or null");
    only(tailnet, ["key", "hostname", "controlUrl", "logout"], "tailnet");
    check(
      typeof tailnet.key === "string" && /^[A-Za-z0-9_-]{8,256}$/.test(tailnet.key),
      "tailnet.key: not an auth key",
    );
    check(
      typeof tailnet.hostname === "string" && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(tailnet.hostname),
      "tailnet.hostname: not a host name",
    );
    check(
      tailnet.controlUrl === undefined ||
        (typeof tailnet.controlUrl === "string" && /^https?:\/\/[^\s/]+\/?$/.test(tailnet.controlUrl)),
      "tailnet.controlUrl: not a URL",
    );
    check(
      tailnet.logout === undefined || typeof tailnet.logout === "boolean",
      "tailnet.logout: want true or false",
    );
  }
  return request;
}
