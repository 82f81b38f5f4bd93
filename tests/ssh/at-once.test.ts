import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { createSsh } from "../../pool/ssh/ssh2.ts";

const { Server } = createRequire(import.meta.url)("ssh2") as typeof import("ssh2");

describe("an SSH server that answers in one piece", () => {
  it("is understood whole: the status may come in the same packet as the word that the command runs", async () => {
    const [host, user] = [generateKeyPair(), generateKeyPair()];
    const server = new Server({ hostKeys: [host.privateKey.expose()] }, (client) => {
      client.on("error", () => {});
      client.on("authentication", (context) => context.accept());
      client.on("session", (accept) => {
        accept().on("exec", (run) => {
          const socket = (client as unknown as { _sock: { cork(): void; uncork(): void } })._sock;
          socket.cork();
          const channel = run();
          channel.write("out\n");
          channel.stderr.write("err\n");
          channel.exit(7);
          channel.end();
          process.nextTick(() => socket.uncork());
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const connection = await createSsh().connect({
      host: "127.0.0.1",
      port,
      username: "anybody",
      privateKey: user.privateKey,
      hostKey: host.publicKey,
    });
    try {
      for (let i = 0; i < 20; i++) {
        assert.deepEqual(await connection.exec("anything"), { code: 7, stdout: "out\n", stderr: "err\n" });
      }
    } finally {
      connection.close();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    }
  });
});
