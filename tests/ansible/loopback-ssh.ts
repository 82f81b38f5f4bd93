/** An SSH server on loopback that runs commands on this computer, as the test's own user, for one public key. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import ssh2 from "ssh2";
import type { Secret } from "../../pool/secrets/secret.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";

export interface LoopbackSsh {
  readonly port: number;
  /** `ssh-ed25519 AAAA…` */
  readonly hostKey: string;
  /** The key that is let in. */
  readonly userKey: Secret;
  /** Commands that run now. */
  running(): number;
  /** Resolves when no command runs any more. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

const publicPart = (key: string): string => key.split(" ").slice(0, 2).join(" ");

export async function startLoopbackSsh(home: string): Promise<LoopbackSsh> {
  const host = generateKeyPair();
  const user = generateKeyPair();
  const allowed = publicPart(user.publicKey);
  const children = new Set<ChildProcess>();
  const clients = new Set<ssh2.Connection>();
  const server = new ssh2.Server({ hostKeys: [host.privateKey.expose()] }, (client) => {
    clients.add(client);
    client.on("close", () => clients.delete(client));
    client.on("error", () => {});
    client.on("authentication", (context) => {
      if (context.method !== "publickey") return context.reject(["publickey"]);
      const offered = `${context.key.algo} ${context.key.data.toString("base64")}`;
      if (offered === allowed) context.accept();
      else context.reject();
    });
    client.on("session", (accept) => {
      accept().on("exec", (acceptExec, _reject, { command }) => {
        const channel = acceptExec();
        const child = spawn("/bin/sh", ["-c", command], {
          cwd: home,
          env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: home, LC_ALL: "C.UTF-8" },
          detached: true,
        });
        children.add(child);
        child.on("close", (code) => {
          children.delete(child);
          channel.exit(code ?? 255);
          channel.end();
        });
        channel.pipe(child.stdin);
        child.stdin.on("error", () => {});
        child.stdout.pipe(channel, { end: false });
        child.stderr.pipe(channel.stderr, { end: false });
        // As sshd does when the other side goes away.
        channel.on("close", () => end(child));
      });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    hostKey: publicPart(host.publicKey),
    userKey: user.privateKey,
    running: () => children.size,
    idle: async () => {
      await Promise.all([...children].map((child) => once(child, "close")));
    },
    close: async () => {
      for (const client of clients) client.end();
      for (const child of children) end(child);
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function end(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // Ended in between.
  }
}
