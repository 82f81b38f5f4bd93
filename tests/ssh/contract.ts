/** What `Ssh` must do, whatever server is at the other end. */
import { strict as assert } from "node:assert";
import { createServer } from "node:net";
import type { BorderError } from "../../pool/errors.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import type { SshConnection, SshTarget } from "../../pool/ssh/ssh.ts";
import { createSsh } from "../../pool/ssh/ssh2.ts";

export interface SshServerUnderTest {
  readonly target: SshTarget;
  /** Ends all connections without a goodbye. */
  cut(): Promise<void>;
  close(): Promise<void>;
}

export function sshContract(name: string, startServer: () => Promise<SshServerUnderTest>): void {
  describe(`ssh contract: ${name}`, () => {
    const ssh = createSsh();
    const open: SshConnection[] = [];
    let server: SshServerUnderTest;

    before(async function () {
      this.timeout(120_000);
      server = await startServer();
    });
    after(() => server?.close());
    afterEach(() => {
      for (const connection of open.splice(0)) connection.close();
    });
    const connect = async (change: Partial<SshTarget> = {}, options?: { timeoutMs?: number }) => {
      const connection = await ssh.connect({ ...server.target, ...change }, options);
      open.push(connection);
      return connection;
    };
    const is = (kind: string, code: string) => (error: BorderError) => {
      assert.deepEqual([error.border, error.kind, error.code], ["ssh", kind, code]);
      return true;
    };

    it("runs a command and gives status, stdout and stderr", async () => {
      const connection = await connect();
      const result = await connection.exec("echo out; echo err >&2; exit 7");
      assert.deepEqual(result, { code: 7, stdout: "out\n", stderr: "err\n" });
      assert.equal(connection.alive, true);
    });

    it("gives stdin to a command, of more than one packet", async () => {
      const text = "x".repeat(300_000);
      const result = await (await connect()).exec("wc -c", { stdin: text });
      assert.equal(result.stdout.trim(), "300000");
    });

    it("ends stdin when there is none", async () => {
      assert.equal((await (await connect()).exec("cat; echo end")).stdout, "end\n");
    });

    it("streams lines while the command runs, and takes more input", async () => {
      const exec = await (await connect()).start('while read line; do echo "got $line"; done; printf rest');
      const lines = exec.lines()[Symbol.asyncIterator]();
      exec.write("one\n");
      assert.equal((await lines.next()).value, "got one");
      exec.end("two\n");
      assert.equal((await lines.next()).value, "got two");
      assert.equal((await lines.next()).done, true);
      assert.equal((await exec.done).stdout, "got one\ngot two\nrest");
    });

    it("runs several commands on one connection at once", async () => {
      const connection = await connect();
      const results = await Promise.all([1, 2, 3, 4].map((n) => connection.exec(`echo ${n}`)));
      assert.deepEqual(
        results.map(({ stdout }) => stdout),
        ["1\n", "2\n", "3\n", "4\n"],
      );
    });

    it("gives a command up at its deadline, and the connection stays of use", async () => {
      const connection = await connect();
      await assert.rejects(connection.exec("exec sleep 30", { timeoutMs: 200 }), is("transient", "timeout"));
      assert.equal((await connection.exec("echo on")).stdout, "on\n");
    });

    it("refuses another host key than the pinned one, for good", async () => {
      const hostKey = generateKeyPair().publicKey;
      await assert.rejects(connect({ hostKey }), is("permanent", "host-key"));
    });

    it("tells when its key is refused", async () => {
      await assert.rejects(connect({ privateKey: generateKeyPair().privateKey }), is("auth", "auth"));
    });

    it("calls a refused connection transient", async () => {
      await assert.rejects(connect({ port: 1 }), is("transient", "ECONNREFUSED"));
    });

    it("gives up a server that accepts and says nothing, in time", async () => {
      const silent = createServer((socket) => socket.resume());
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const { port } = silent.address() as { port: number };
      try {
        await assert.rejects(
          connect({ host: "127.0.0.1", port }, { timeoutMs: 300 }),
          is("transient", "timeout"),
        );
      } finally {
        await new Promise((resolve) => silent.close(resolve));
      }
    });

    it("rejects what runs when the connection is lost, and says so once", async () => {
      const connection = await connect();
      let told = 0;
      const closed = new Promise<void>((resolve) => {
        connection.onClose(() => {
          told++;
          resolve();
        });
      });
      const exec = await connection.start("echo up; exec sleep 30");
      const lines = exec.lines()[Symbol.asyncIterator]();
      await lines.next();
      const waiting = connection.exec("exec sleep 30");
      const [, rejected] = await Promise.all([
        server.cut(),
        assert.rejects(waiting, { border: "ssh", kind: "transient" }),
      ]);
      assert.equal(rejected, undefined);
      await assert.rejects(exec.done, { border: "ssh", kind: "transient" });
      await closed;
      assert.equal(connection.alive, false);
      await assert.rejects(connection.exec("true"), is("transient", "closed"));
      assert.equal(told, 1);
    });

    it("keeps keys out of what it says", async () => {
      const { privateKey } = generateKeyPair();
      const error = await connect({ privateKey }).then(
        () => assert.fail("connected"),
        (reason: unknown) => reason,
      );
      const { inspect } = await import("node:util");
      const body = privateKey.expose().split("\n")[2] ?? "";
      assert.ok(body.length > 20 && !inspect(error, { depth: 10 }).includes(body));
    });
  });
}
