import { strict as assert } from "node:assert";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { type Rig, sessionForm, startRig } from "./rig.ts";

describe("misuse of the stand-in for Stripe", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({}, null);
  });
  afterEach(() => rig.close());

  /** Every answer is an error of Stripe's form that tells nothing of the inside, and the stand-in goes on. */
  async function refused(
    status: number,
    answer: { status: number; text: string },
    why: string,
  ): Promise<void> {
    assert.equal(answer.status, status, why);
    const { error } = JSON.parse(answer.text);
    assert.equal(error.type, "invalid_request_error", why);
    assert(error.message.length > 0 && error.message.length < 500, why);
    assert.doesNotMatch(answer.text, /node_modules|\.ts:\d|at .*\(/, why);
    assert.equal((await rig.ask("GET", "/v1/events")).status, 200, `alive after ${why}`);
  }
  const ask = async (
    method: string,
    path: string,
    body?: string | Uint8Array<ArrayBuffer>,
    type?: string,
  ) => {
    const answer = await fetch(`${rig.stripe.apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${rig.stripe.key}`,
        "content-type": type ?? "application/x-www-form-urlencoded",
      },
      ...(body === undefined ? {} : { body }),
    });
    return { status: answer.status, text: await answer.text() };
  };

  const sessions = "/v1/checkout/sessions";

  it("by paths and methods that are not there", async () => {
    for (const [method, path] of [
      ["GET", "/v1/teapots"],
      ["GET", "/v1/"],
      ["GET", "/v2/core/teapots"],
      ["DELETE", sessions],
      ["PUT", sessions],
      ["PATCH", `${sessions}/cs_1`],
      ["GET", "/"],
      ["GET", "/../../etc/passwd"],
      ["GET", "/c/pay/%00"],
      ["GET", "/_local/teapot"],
      ["POST", "/_local/teapot"],
    ] as const) {
      await refused(404, await ask(method, path), `${method} ${path}`);
    }
  });

  it("by ids that are none", async () => {
    for (const id of ["..", "%2e%2e", "%00", "a".repeat(5_000), "constructor", "__proto__", "%F0%9F%98%80"]) {
      for (const folder of ["checkout/sessions", "subscriptions", "customers", "events"]) {
        const answer = await ask("GET", `/v1/${folder}/${id}`);
        assert([404, 200].includes(answer.status), `${folder}/${id.slice(0, 20)}: ${answer.status}`);
        assert.doesNotMatch(answer.text, /node_modules|\.ts:\d/);
      }
    }
    await refused(404, await ask("GET", "/v1/events/%E0%A4%A"), "an id that is no UTF-8");
  });

  it("by bodies that are no form", async () => {
    const bodies: [string, string | Uint8Array<ArrayBuffer>, string?][] = [
      ["JSON", '{"mode":"subscription"}', "application/json"],
      ["multipart", "--x\r\n\r\n--x--", "multipart/form-data; boundary=x"],
      ["bad %-encoding", "mode=%zz"],
      ["too deep", `a${"[b]".repeat(100_000)}=1`],
      ["too many", "a[]=1&".repeat(100_000)],
      ["bytes", new Uint8Array(1_000).fill(0xff)],
      ["names of Object's own", `${sessionForm}&__proto__[x]=1&constructor[prototype][x]=1`],
      ["a list for a text", `${sessionForm}&client_reference_id[]=x`],
      ["a text for a list", sessionForm.replaceAll("line_items[0][price]", "line_items")],
      [
        "a list of texts for a list of branches",
        "mode=subscription&line_items[]=x&success_url=https://x.example",
      ],
      ["a branch for a number", `${sessionForm}&expires_at[x]=1`],
      ["no number", `${sessionForm}&expires_at=1e9`],
      ["a huge number", `${sessionForm}&expires_at=${"9".repeat(400)}`],
      ["a text for expand", `${sessionForm}&expand=customer`],
    ];
    for (const [why, body, type] of bodies) await refused(400, await ask("POST", sessions, body, type), why);
    assert.equal(rig.stripe.account.sessions.size, 0);
    assert.equal(({} as Record<string, unknown>).x, undefined);
  });

  it("by bodies of API v2 and of the console that are no JSON, or not as they must be", async () => {
    const destinations = "/v2/core/event_destinations";
    for (const body of ["{", "null", "[]", '"x"', "{}", '{"name":1}', `${"[".repeat(10_000)}`]) {
      await refused(
        400,
        await ask("POST", destinations, body, "application/json"),
        `v2 ${body.slice(0, 20)}`,
      );
      await refused(
        400,
        await ask("POST", "/_local/buy", body, "application/json"),
        `buy ${body.slice(0, 20)}`,
      );
    }
    await refused(413, await ask("POST", "/_local/buy", "x".repeat(100_000)), "a large body for the console");
  });

  it("by a body of 10 MB: 413, whether its length was told or not", async () => {
    for (const [name, value] of [
      ["content-length", "10000000"],
      ["transfer-encoding", "chunked"],
    ] as const) {
      await refused(413, await tenMegabytes({ [name]: value }), name);
    }
  });

  /** Reads the answer even when the stand-in closes before all was sent. */
  const tenMegabytes = (headers: Record<string, string>) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const call = request(`${rig.stripe.apiUrl}${sessions}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${rig.stripe.key}`,
          "content-type": "application/x-www-form-urlencoded",
          ...headers,
        },
      });
      let answered = false;
      call.on("response", async (response) => {
        answered = true;
        let text = "";
        for await (const chunk of response.setEncoding("utf8")) text += chunk;
        resolve({ status: response.statusCode ?? 0, text });
      });
      call.on("error", (error) => {
        if (!answered) reject(error);
      });
      for (let sent = 0; sent < 10; sent++) call.write("x".repeat(1_000_000));
      call.end();
    });

  it("by 200 connections that send nothing, or half a request", async () => {
    const { hostname, port } = new URL(rig.stripe.apiUrl);
    const open = (text: string) =>
      new Promise<Socket>((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => {
          if (text !== "") socket.write(text);
          resolve(socket);
        });
        socket.on("error", reject);
      });
    const half = "POST /v1/customers HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nname=";
    const sockets = await Promise.all(Array.from({ length: 200 }, (_, n) => open(n % 2 === 0 ? "" : half)));
    assert.equal((await rig.ask("POST", sessions, sessionForm)).status, 200);
    for (const socket of sockets) socket.destroy();
    assert.equal((await rig.ask("GET", "/v1/events")).status, 200);
    const garbage = await open("\x16\x03\x01\x02\x00 this is TLS or nothing\r\n\r\n");
    const answer = await new Promise<string>((resolve) =>
      garbage.once("data", (data) => resolve(data.toString())),
    );
    assert.match(answer, /^HTTP\/1\.1 400 /);
    garbage.destroy();
  });
});
