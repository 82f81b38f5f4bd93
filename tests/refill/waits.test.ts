/** A paid order that nothing comes for is told to a person, with the reason and the remedy. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import type { Config, PoolConfig } from "../../pool/config/config.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import { raiseAlerts } from "../../pool/refill/alerts.ts";
import { serveQueue } from "../../pool/refill/queue.ts";
import { refill } from "../../pool/refill/refill.ts";
import type { NewOrder } from "../../pool/store/store.ts";
import { exampleConfig, type Life, startLife } from "../machine/fakes.ts";
import { caps, endBuild, failure, limits, makeReady, newMachine, newOrder, pay } from "../store/rows.ts";

const minute = 60_000;
const long = 15 * minute;

describe("an order that waits", () => {
  let life: Life;
  let errors: string[];
  const log = pino({ level: "error" }, { write: (line) => void errors.push(JSON.parse(line).msg) });
  const raise = () => raiseAlerts({ store: life.store, config: life.config, clock: life.clock, log });
  const told = () => life.store.flags().filter(({ kind }) => kind === "order-waits");
  const subjects = () => told().map(({ subject }) => subject);
  const text = () => told()[0]?.text ?? "nothing is told";

  /** One pool that sells in Falkenstein and Ashburn; what it keeps warm is not asked for here. */
  const configure = (change: Partial<PoolConfig> = {}, all: Partial<Config> = {}) => {
    const config = exampleConfig();
    const regions = { "eu-central": ["fsn1"], "us-east": ["ash"] };
    const pools = config.pools.map((pool) => ({
      ...pool,
      minReady: 0,
      locations: ["fsn1", "ash"],
      ...change,
    }));
    life.config = { ...config, regions, pools, ...all };
  };
  const order = (id: string, change: Partial<NewOrder> = {}) => {
    life.store.createOrder(newOrder(id, change));
    assert.equal(pay(life.store, id).kind, "queued");
  };
  /** As each minute of the daemon. */
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= minute) {
      await life.clock.advance(Math.min(left, minute));
      raise();
    }
  };

  beforeEach(() => {
    life = startLife();
    errors = [];
    configure();
  });
  afterEach(() => life.store.close());

  const sellOut = (location: string) =>
    life.store.recordStockOut(
      { serverType: "cx23", location, until: life.clock.now() + 24 * 60 * minute },
      "none",
    );

  it("is told when only its region is sold out, once, and not any more when it has a machine", async () => {
    makeReady(life.store, "m-ash", { location: "ash" });
    sellOut("fsn1");
    const paidAt = new Date(life.clock.now()).toISOString();
    order("o-1");
    await pass(long);
    assert.deepEqual(told(), []);
    await pass(minute);
    assert.deepEqual(subjects(), ["o-1"]);
    assert(
      text().startsWith(`order o-1 is paid and waits for a machine since ${paidAt}: fsn1 has none of`),
      text(),
    );
    assert.match(
      text(),
      /other_server_types.*region eu-central.*cancel its subscription in Stripe and refund it/,
    );
    await pass(60 * minute);
    assert.deepEqual([errors.length, subjects()], [1, ["o-1"]]);
    const story = life.store.auditRows({ subject: "o-1" }).filter(({ action }) => action.startsWith("flag."));
    assert.equal(story.length, 1);

    life.store.recordStock("cx23", "fsn1", "one was sold");
    raise();
    assert.match(text(), /fsn1 has none/, "between two tries nothing new is known");
    makeReady(life.store, "m-fsn");
    assert.equal(serveQueue(life.store, life.config).length, 1);
    assert.deepEqual(told(), []);
    raise();
    assert.deepEqual([told(), errors.length], [[], 1]);
  });

  it("is not told as sold out while a machine of an earlier purchase comes there", async () => {
    const { name } = life.store.planMachine(newMachine("m-fsn"), caps) ?? assert.fail();
    life.store.changeMachine(name, "planned", { state: "creating", serverId: 7 }, "test");
    sellOut("fsn1");
    order("o-1");
    await pass(long + minute);
    assert.match(text(), /no reason is known; `clawpool orders show o-1`/);
  });

  it("is told when max_total is used up, of its pool or of all, and when there is room in another pool is not", async () => {
    configure({ maxTotal: 1 });
    makeReady(life.store, "m-ash", { location: "ash" });
    order("o-1");
    assert.deepEqual(refill(life.store, life.config, life.clock), []);
    await pass(long + minute);
    assert.match(text(), /: pool small has its max_total of 1 machines; raise it; or cancel/);
    configure({}, { maxTotal: 1 });
    raise();
    assert.match(text(), /: all pools together have max_total \(1\) machines; raise it/);
    assert.equal(errors.length, 2, "another reason is news");
    const [pool] = life.config.pools;
    life.store.endSubscription(null, { subscription: "sub_o-1", releaseAt: 1, reason: "test" });
    assert.deepEqual(told(), []);
    configure({ maxTotal: 1 });
    life.config = {
      ...life.config,
      pools: [...life.config.pools, { ...(pool ?? assert.fail()), name: "other" }],
    };
    order("o-2");
    await pass(long + minute);
    assert.match(text(), /no reason is known/);
  });

  it("is told when no pool has its region or its plan any more", async () => {
    order("o-1");
    configure({ locations: ["ash"] });
    await pass(long + minute);
    assert.match(
      text(),
      /no pool of plan small has a location of its region eu-central; add eu-central to the regions of a pool, or cancel/,
    );
    configure({}, { pools: [] });
    raise();
    assert.match(text(), /no pool of the configuration has its plan small; add one, or cancel/);
    configure();
    life.store.createOrder(newOrder("o-2"));
    raise();
    assert.deepEqual(subjects(), ["o-1"], "an unpaid order waits for nobody");
  });

  it("is told with what keeps everything: a refusal, a stop, a quarantine, an order before it", async () => {
    order("o-1");
    order("o-2", { customer: "customer-of-o-1" });
    life.store.stopRefill("small", { reason: "test", inputs: "", specimen: null, text: "stopped" });
    await pass(long + minute);
    const texts = () => told().map((flag) => flag.text.replace(/^.*?Z: /, ""));
    assert.match(texts()[0] ?? "", /^refill of pool small is stopped .* then `clawpool resume small`/);
    assert.match(texts()[1] ?? "", /^its customer gets one machine at a time, and order o-1 comes first$/);
    life.store.freeze("cloud", { kind: "quota", reason: "limit", text: "frozen" });
    raise();
    assert.match(texts()[0] ?? "", /^Hetzner refuses the account .* `clawpool resume` then tries at once$/);
    life.store.enterQuarantine("restored", { actor: "person:ada" });
    raise();
    assert.match(texts()[0] ?? "", /`clawpool recover status`$/);
  });

  it("is not told when it is served in time, however long builds take as long as they are usual", async () => {
    const { name: slow } =
      life.store.planMachine(newMachine("m-slow", { location: "ash" }), caps) ?? assert.fail();
    const took = 10 * minute;
    await life.clock.advance(took);
    endBuild(life.store, slow);
    order("o-1");
    const [planned] = refill(life.store, life.config, life.clock);
    await pass(2 * took);
    endBuild(life.store, planned?.name ?? assert.fail());
    assert.equal(serveQueue(life.store, life.config).length, 1);
    await pass(long);
    const actions = life.store.auditRows({ subject: "o-1" }).map(({ action }) => action);
    assert.deepEqual(
      actions.filter((action) => action.startsWith("flag.")),
      [],
    );
  });

  it("stays told when builds have come to take longer, in the same words", async () => {
    order("o-1");
    sellOut("fsn1");
    await pass(long + minute);
    const before = text();
    const { name: slow } =
      life.store.planMachine(newMachine("m-slow", { location: "ash" }), caps) ?? assert.fail();
    await pass(60 * minute);
    endBuild(life.store, slow);
    raise();
    assert.deepEqual([subjects(), text()], [["o-1"], before]);
  });

  it("is not told any more when it ends, is suspended or goes to a person; what waits anew has its time again", async () => {
    sellOut("fsn1");
    for (const id of ["o-1", "o-2", "o-3"]) order(id);
    await pass(long + minute);
    assert.deepEqual(subjects(), ["o-1", "o-2", "o-3"]);
    life.store.endSubscription(null, { subscription: "sub_o-1", releaseAt: 1, reason: "test" });
    assert.deepEqual(subjects(), ["o-2", "o-3"]);
    const paused = { reason: "paused", text: "it is paused" } as const;
    life.store.recordStanding("o-2" as OrderId, { suspension: paused, overdueSince: null }, "test");
    raise();
    assert.deepEqual(subjects(), ["o-3"]);
    const { name } = life.store.planMachine(newMachine("m-1"), caps) ?? assert.fail();
    life.store.recordBuildFailure(name, "planned", failure, { ...limits, limit: 1 });
    assert.equal(life.store.order("o-3" as OrderId)?.state, "failed");
    assert.deepEqual(subjects(), []);

    await life.clock.advance(24 * 60 * minute);
    life.store.retryOrder("o-3" as OrderId, ["fsn1"], { actor: "person:ada" });
    life.store.recordStanding("o-2" as OrderId, { suspension: null, overdueSince: null }, "test");
    await pass(long);
    assert.deepEqual(subjects(), []);
    await pass(minute);
    assert.deepEqual(subjects().sort(), ["o-2", "o-3"]);
  });
});
