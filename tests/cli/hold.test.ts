import { strict as assert } from "node:assert";
import { mkdirSync } from "node:fs";
import Koa from "koa";
import { pino } from "pino";
import { holdRoutes } from "../../api/admin-orders.ts";
import { closeServer, createHttpServer } from "../../api/http.ts";
import { problems } from "../../api/problem.ts";
import { adminSocket } from "../../pool/cli/admin-client.ts";
import { createHoldOrder } from "../../pool/order/hold.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { type CliRig, makeCliRig } from "./rig.ts";

describe("clawpool orders suspend, resume, keep, follow", () => {
  let rig: CliRig;
  let life: Life;
  let close: () => Promise<void>;

  beforeEach(async () => {
    rig = makeCliRig();
    rig.configure();
    mkdirSync(rig.stateDir);
    life = startLife();
    makeReady(life.store, "claw-test-one");
    life.store.createOrder(newOrder("o-1"));
    pay(life.store, "o-1");
    const app = new Koa();
    app.use(problems(pino({ level: "silent" })));
    const hold = createHoldOrder({ store: life.store, review: async () => null, poke: () => {} });
    app.use(holdRoutes({ hold }));
    const server = createHttpServer(app);
    await new Promise<void>((resolve) => server.listen(adminSocket(rig.stateDir), resolve));
    close = () => closeServer(server);
  });
  afterEach(async () => {
    await close?.();
    life.store.close();
    rig.remove();
  });

  it("say what the order is then, and that its server costs", async () => {
    const off = await rig.run("orders", "suspend", "o-1", "--reason", "abuse");
    assert.equal(
      off.stdout,
      "Order o-1 is suspended (person: abuse); its server is switched off, and still billed.",
    );
    const on = await rig.run("orders", "resume", "o-1", "--reason", "settled");
    assert.equal(on.stdout, "Order o-1 may be served (it is provisioning).");
    const kept = await rig.run("orders", "keep", "o-1", "--reason", "evidence");
    assert.match(kept.stdout, /Its machine is kept until `clawpool orders follow`\.$/);
    const actors = life.store.auditRows({ subject: "o-1" }).map(({ actor }) => actor);
    assert.equal(actors.filter((actor) => actor.startsWith("person:")).length, 3);
  });

  it("want a reason, and an order that there is", async () => {
    const bare = await rig.run("orders", "suspend", "o-1");
    assert.notEqual(bare.exitCode, 0);
    assert.match(bare.stderr, /--reason/);
    const unknown = await rig.run("orders", "keep", "o-2", "--reason", "x");
    assert.match(unknown.stderr, /there is no order o-2/);
  });
});
