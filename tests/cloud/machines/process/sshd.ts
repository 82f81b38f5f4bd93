/**
 * The SSH server of one folder machine: logins against the folder's authorized_keys and root's password, commands by /bin/sh
 * with an environment that points into the folder. Ansible (pipelined) and the hand-over run over it unchanged.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { Connection, ServerChannel, Server as SshServer } from "ssh2";
import { type AuthorizedKey, authorizedKeys } from "./authorized-keys.ts";
import { hasRootPassword, isRootPassword } from "./root-password.ts";

const { Server } = createRequire(import.meta.url)("ssh2") as typeof import("ssh2");

export interface SshdOptions {
  readonly root: string;
  readonly address: string;
  readonly port: number;
  /** OpenSSH PEM. */
  readonly hostKey: string;
  environment(user: string): NodeJS.ProcessEnv;
}

export interface Sshd {
  /** New connections see this key from now on. */
  useHostKey(pem: string): void;
  /** Ends a user's connections, with what they run. */
  endSessions(user: string): void;
  close(): Promise<void>;
}

const homeOf = (user: string) => (user === "root" ? "root" : join("home", user));

/** Listens when it resolves. Rejects when the address cannot be bound. */
export async function startSshd(options: SshdOptions): Promise<Sshd> {
  const sessions = new Map<Connection, string>();
  const children = new Set<ChildProcess>();
  const sockets = new Set<Socket>();
  const serve = (hostKey: string): SshServer =>
    new Server({ hostKeys: [hostKey] }, (client) => handle(client)).on("error", () => {});
  let ssh = serve(options.hostKey);

  const handle = (client: Connection): void => {
    let key: AuthorizedKey | null = null;
    let user = "";
    client.on("error", () => {});
    client.on("close", () => sessions.delete(client));
    client.on("authentication", async (context) => {
      user = context.username;
      if (context.method === "password" && user === "root") {
        return (await isRootPassword(options.root, context.password)) ? context.accept() : context.reject();
      }
      if (context.method !== "publickey") {
        const offers = user === "root" && (await hasRootPassword(options.root)) ? ["password" as const] : [];
        return context.reject(["publickey", ...offers]);
      }
      const text = /^[a-z][a-z0-9-]*$/.test(user)
        ? await readFile(join(options.root, homeOf(user), ".ssh", "authorized_keys"), "utf8").catch(() => "")
        : "";
      const found = authorizedKeys(text).find(
        ({ blob }) => blob.length === context.key.data.length && timingSafeEqual(blob, context.key.data),
      );
      if (!found) return context.reject(["publickey"]);
      if (
        context.signature &&
        !found.verify(context.blob ?? Buffer.alloc(0), context.signature, context.hashAlgo)
      ) {
        return context.reject(["publickey"]);
      }
      key = found;
      context.accept();
    });
    client.on("ready", () => sessions.set(client, user));
    client.on("session", (acceptSession) => {
      const session = acceptSession();
      // OpenSSH's client sends its locale; sshd takes it or leaves it.
      session.on("env", (accept) => accept?.());
      session.on("exec", (accept, _reject, { command }) =>
        run(accept(), user, key?.command ?? command, key?.command != null, command),
      );
      session.on("shell", (accept) =>
        run(accept(), user, key?.command ?? "exec /bin/sh", key?.command != null),
      );
    });
  };

  const run = (
    channel: ServerChannel,
    user: string,
    command: string,
    forced: boolean,
    wanted?: string,
  ): void => {
    // Absolute paths of a forced command mean the machine's.
    const line = forced && command.startsWith("/") ? join(options.root, command) : command;
    const child = spawn("/bin/sh", ["-c", line], {
      cwd: join(options.root, homeOf(user)),
      env: { ...options.environment(user), ...(forced && wanted ? { SSH_ORIGINAL_COMMAND: wanted } : {}) },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    children.add(child);
    channel.on("error", () => {});
    child.stdin.on("error", () => {});
    channel.pipe(child.stdin);
    child.stdout.pipe(channel, { end: false });
    child.stderr.pipe(channel.stderr, { end: false });
    channel.on("close", () => {
      // sshd's: whoever reads gets its end of file, and later SIGHUP.
      child.stdin.end();
      killGroup(child, "SIGHUP");
    });
    child.on("error", () => channel.close());
    child.on("close", (code, signal) => {
      children.delete(child);
      if (signal) channel.exit(signal.replace(/^SIG/, ""));
      else channel.exit(code ?? 255);
      channel.end();
    });
  };

  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    ssh.injectSocket(socket);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(options.port, options.address, resolve);
  });

  return {
    useHostKey(pem) {
      ssh = serve(pem);
    },
    endSessions(user) {
      for (const [client, name] of sessions) if (name === user) client.end();
    },
    async close() {
      const ended = [...children].map(
        (child) => new Promise<void>((resolve) => child.on("close", () => resolve())),
      );
      for (const child of children) killGroup(child, "SIGKILL");
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
      await Promise.all(ended);
    },
  };
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It ended in between.
  }
}
