import { strict as assert } from "node:assert";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pino } from "pino";
import type { Config } from "../../pool/config/config.ts";
import { loadSource } from "../../pool/config/load.ts";
import { type Applied, type ConfigWatch, watchConfig } from "../../pool/config/watch.ts";
import { Releasers } from "../../pool/releasers.ts";
import { env, example } from "./example.ts";

interface Line {
  readonly msg: string;
  readonly parts?: readonly string[];
  readonly err?: { readonly message: string };
}

describe("the configuration in force", () => {
  let dir: string;
  let file: string;
  let lines: Writable;
  let releasers: Releasers;
  let watched: ConfigWatch;
  const config = (): Config => watched.current();
  const log = () => pino(lines);
  const quiet = pino({ level: "silent" });
  const before = { ...process.env };

  /** What the daemon says next. */
  const said = async (): Promise<Line> => (await once(lines, "said"))[0];

  beforeEach(() => {
    Object.assign(process.env, env);
    dir = mkdtempSync(join(tmpdir(), "clawpool-watch-"));
    file = join(dir, "clawpool.yaml");
    writeFileSync(file, example);
    lines = new Writable({
      write(chunk, _encoding, done) {
        lines.emit("said", JSON.parse(String(chunk)));
        done();
      },
    });
    releasers = new Releasers();
    watched = watchConfig(loadSource(file), log(), releasers);
  });
  afterEach(async () => {
    await releasers.release(quiet);
    rmSync(dir, { recursive: true });
    for (const name of Object.keys(env)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });

  it("is replaced as a whole when the file changes", async () => {
    const first = config();
    const applied = said();
    writeFileSync(file, example.replace("min_ready: 3", "min_ready: 5"));
    assert.equal((await applied).msg, "configuration applied");
    assert.equal(config().pools[0]?.minReady, 5);
    assert.equal(first.pools[0]?.minReady, 3, "what somebody holds does not change under them");
  });

  it("follows an editor that writes another file and puts it in place, again and again", async () => {
    for (const count of [4, 5, 6]) {
      const applied = said();
      const draft = join(dir, `.clawpool.yaml.${count}.swp`);
      writeFileSync(draft, example.replace("min_ready: 3", `min_ready: ${count}`));
      renameSync(draft, file);
      assert.equal((await applied).msg, "configuration applied");
      assert.equal(config().pools[0]?.minReady, count);
    }
  });

  for (const [what, change, message] of [
    ["cannot be read as YAML", () => "pools: [", /not usable/],
    [
      "has one wrong field beside a good change",
      (text: string) =>
        text.replace("min_ready: 3", "min_ready: 5").replace("max_total: 20", "max_total: many"),
      /max_total/,
    ],
    [
      "contradicts itself",
      (text: string) => text.replace("min_ready: 3", "min_ready: 15"),
      /15 warm machines can never fit/,
    ],
  ] as const) {
    it(`stays when the new file ${what}`, async () => {
      const stays = config();
      const refused = said();
      writeFileSync(file, change(example));
      const { msg, err } = await refused;
      assert.match(msg, /^configuration not applied/);
      assert.match(err?.message ?? "", message);
      assert.equal(config(), stays);
    });
  }

  it("tells who listens what is another now and who did it, and why another file is not in force", async () => {
    const told = new EventTarget();
    const tell = (detail: unknown) => told.dispatchEvent(new CustomEvent("told", { detail }));
    watchConfig(loadSource(file), quiet, releasers, { applied: tell, refused: tell });
    const answer = async (text: string): Promise<unknown> => {
      const heard = once(told, "told");
      writeFileSync(file, text);
      return (await heard)[0].detail;
    };
    const five = example.replace("min_ready: 3", "min_ready: 5");
    const key = "pools.small-eu.min_ready";
    const { change, actor, how, source } = (await answer(five)) as Applied;
    assert.deepEqual(change, { before: { [key]: 3 }, after: { [key]: 5 } });
    assert.equal(actor, `person:${userInfo().username}`);
    assert.equal(how, "reload");
    assert.ok(JSON.stringify(source.written).includes('"env":"STRIPE_KEY"'));
    const restart = await answer(five.replace("instance: test", "instance: other"));
    assert.equal(restart, "these parts need a restart of the daemon: instance");
    assert.match(String(await answer("pools: [")), /not usable/);
  });

  it("is read at once when a person asks for it, who is named then", () => {
    const heard: Applied[] = [];
    const why: string[] = [];
    const asked = watchConfig(loadSource(file), quiet, releasers, {
      applied: (applied) => heard.push(applied),
      refused: (text) => why.push(text),
    });
    assert.deepEqual(asked.reload("person:ada"), { outcome: "unchanged" });
    writeFileSync(file, example.replace("min_ready: 3", "min_ready: 5"));
    assert.equal(asked.reload("person:ada").outcome, "applied");
    assert.equal(asked.current().pools[0]?.minReady, 5);
    assert.deepEqual(
      heard.map(({ actor, how }) => [actor, how]),
      [["person:ada", "apply"]],
    );
    writeFileSync(file, "pools: [");
    const refused = asked.reload("person:ada");
    assert.ok(refused.outcome === "refused" && refused.why === why[0]);
    assert.equal(asked.current().pools[0]?.minReady, 5);
  });

  it("refuses the whole file for one bad pool, whatever is good in it", async () => {
    const stays = config();
    const refused = said();
    const bad =
      "  other: { plan: small, regions: [us-east], server_type: cx23, min_ready: 3, max_total: 2 }\n";
    writeFileSync(
      file,
      example.replace("min_ready: 3", "min_ready: 5").replace("pools:\n", `pools:\n${bad}`),
    );
    assert.match((await refused).err?.message ?? "", /pools\.other\.min_ready: 3 warm machines/);
    assert.equal(config(), stays);
  });

  it("stays when the file is gone", async () => {
    const stays = config();
    const refused = said();
    rmSync(file);
    assert.match((await refused).msg, /^configuration not applied/);
    assert.equal(config(), stays);
  });

  for (const [part, from, to] of [
    ["instance", "instance: test", "instance: other"],
    ["state_dir", "state_dir: /tmp/clawpool-test", "state_dir: /tmp/clawpool-other"],
    ["hetzner", "hetzner:\n", "hetzner:\n  requests_per_hour: 1000\n"],
    ["stripe", "https://shop.example/thanks", "https://shop.example/thank-you"],
    ["tailnet", "client_id: client", "client_id: other"],
    ["api", "http://127.0.0.1:8080", "http://127.0.0.1:8081"],
    ["network", "203.0.113.7/32", "203.0.113.8/32"],
    ["log", "instance: test", "instance: test\nlog: { level: debug }"],
  ] as const) {
    it(`refuses a change of ${part}, and everything that comes with it: it needs a restart`, async () => {
      const stays = config();
      const refused = said();
      const changed = example.replace(from, to).replace("min_ready: 3", "min_ready: 5");
      assert.notEqual(changed, example.replace("min_ready: 3", "min_ready: 5"));
      writeFileSync(file, changed);
      const { msg, parts } = await refused;
      assert.match(msg, /need a restart/);
      assert.deepEqual(parts, [part]);
      assert.equal(config(), stays);
    });
  }

  it("sees that a secret has changed behind its name, and does not tell it", async () => {
    const stays = config();
    process.env.API_TOKEN = "another-token-of-the-web-app";
    const refused = once(lines, "said");
    writeFileSync(file, `${example}\n`);
    const [line] = await refused;
    assert.deepEqual(line.parts, ["api"]);
    assert.ok(!JSON.stringify(line).includes("another-token"));
    assert.equal(config(), stays);
  });
});
