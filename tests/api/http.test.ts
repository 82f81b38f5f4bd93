import { strict as assert } from "node:assert";
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import type { AddressInfo } from "node:net";
import Koa from "koa";
import { closeServer, createHttpServer } from "../../api/http.ts";

describe("closeServer", () => {
  it("answers the request that runs, then ends its kept-alive connection at once", async () => {
    const app = new Koa();
    const arrived = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    app.use(async (context) => {
      arrived.resolve();
      await goOn.promise;
      context.body = "done";
    });
    const server = createHttpServer(app);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const agent = new Agent({ keepAlive: true });
    const asked = request({ host: "127.0.0.1", port, agent }).end();
    await arrived.promise;
    const closed = closeServer(server, 2 ** 31 - 1);
    goOn.resolve();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    assert.equal((await answer.toArray()).join(""), "done");
    // Would hang for the keepAliveTimeout of 65 s, longer than any test may take.
    await closed;
    agent.destroy();
  });

  it("cuts off what does not end by itself", async () => {
    const app = new Koa();
    const arrived = Promise.withResolvers<void>();
    app.use((context) => {
      context.respond = false;
      arrived.resolve();
    });
    const server = createHttpServer(app);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const asked = request({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }).end();
    const broken = once(asked, "error");
    await arrived.promise;
    await closeServer(server, 1);
    assert.equal((await broken)[0].code, "ECONNRESET");
  });
});
