import { strict as assert } from "node:assert";
import { keyDigest, type ModelServer, startModelServer } from "./server.ts";

describe("the mock model server", () => {
  let server: ModelServer;
  beforeEach(async () => {
    server = await startModelServer({ host: "127.0.0.1" });
  });
  afterEach(() => server.close());

  const ask = (body: unknown, key: string | null = "key-1") =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: key === null ? {} : { authorization: `Bearer ${key}` },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  const user = (content: unknown) => ({ model: "claw", messages: [{ role: "user", content }] });

  it("repeats what the user said last, past the agent's own context", async () => {
    const [begins, ends] = ["<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>", "<<<END_OPENCLAW_INTERNAL_CONTEXT>>>"];
    // As OpenClaw 2026.9.6 sends it: its prompt speaks of the marks inside of them.
    const context = `${begins}\nMessages between ${begins} and ${ends} are not said\n| sessionId=1 | os=Linux\n${ends}`;
    const messages = [
      { role: "system", content: "be kind" },
      { role: "user", content: "first" },
      { role: "assistant", content: "yes" },
      {
        role: "user",
        content: "[Sat 2026-11-21 10:33 UTC] hello\nthere\n\nRuntime: agent=main | sessionId=1 | os=Linux",
      },
      { role: "user", content: [{ type: "text", text: context }] },
    ];
    const answer = (await (await ask({ model: "claw", messages })).json()) as {
      choices: { message: { content: string } }[];
    };
    assert.equal(answer.choices[0]?.message.content, "claw says: hello there");
  });

  it("streams the same words in pieces", async () => {
    const text = await (await ask({ ...user("hello there"), stream: true })).text();
    const events = text.split("\n\n").filter((event) => event !== "");
    assert.equal(events.at(-1), "data: [DONE]");
    const words = events
      .slice(0, -1)
      .map((event) => JSON.parse(event.slice(6)).choices[0].delta.content ?? "");
    assert.equal(words.join(""), "claw says: hello there");
    assert.ok(words.length > 3);
  });

  it("tells which key was used without keeping it", async () => {
    await ask(user("a"), "key-1");
    await ask(user("b"), "key-2");
    assert.deepEqual(
      server.requests().map((request) => request.keyDigest),
      [keyDigest("key-1"), keyDigest("key-2")],
    );
    assert.ok(!JSON.stringify(server.requests()).includes("key-1"));
  });

  it("refuses what is not a chat request, and who has no key", async () => {
    assert.equal((await ask("{")).status, 400);
    assert.equal((await ask([])).status, 400);
    assert.equal((await ask({ model: 1, messages: [] })).status, 400);
    assert.equal((await ask(user("a"), null)).status, 401);
    assert.equal((await fetch(`${server.url}/v2`, { headers: { authorization: "Bearer k" } })).status, 404);
  });
});
