/** What tests need to look at a machine from outside: keys, user_data, an SSH session, whether a port answers. */
import { strict as assert } from "node:assert";
import { createConnection } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import ssh2 from "ssh2";
import { stringify } from "yaml";
import { generateKeyPair } from "../../../pool/ssh/keys.ts";

export interface KeyPair {
  /** OpenSSH private key, PEM. */
  readonly private: string;
  /** `ssh-ed25519 AAAA… comment` */
  readonly public: string;
}

export function ed25519KeyPair(comment: string): KeyPair {
  const pair = generateKeyPair(comment);
  return { private: pair.privateKey.expose(), public: pair.publicKey };
}

/** cloud-init user_data with a known host key and the user `clawpool` with sudo. */
export function userData(hostKey: KeyPair, userKey: KeyPair): string {
  const document = {
    ssh_deletekeys: true,
    ssh_keys: { ed25519_private: hostKey.private, ed25519_public: hostKey.public },
    users: [
      {
        name: "clawpool",
        shell: "/bin/sh",
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        lock_passwd: true,
        ssh_authorized_keys: [userKey.public],
      },
    ],
  };
  return `#cloud-config\n${stringify(document)}`;
}

export type Login = {
  readonly host: string;
  readonly port: number;
  readonly username: string;
} & ({ readonly key: KeyPair } | { readonly password: string });

export interface Session {
  /** `ssh-ed25519 AAAA…` as the server presented it. */
  readonly hostKey: string;
  run(command: string): Promise<{ code: number | null; stdout: string; stderr: string }>;
  /** Resolves when the other side has ended the connection. */
  readonly closed: Promise<void>;
  close(): void;
}

/** One attempt to log in. @throws the error of ssh2. */
export function login(target: Login): Promise<Session> {
  const client = new ssh2.Client();
  let hostKey = "";
  return new Promise((resolve, reject) => {
    const closed = new Promise<void>((end) => client.on("close", () => end()));
    client.on("error", reject);
    client.on("close", () => reject(new Error("connection closed during login")));
    client.on("ready", () =>
      resolve({ hostKey, closed, run: (command) => run(client, command), close: () => client.destroy() }),
    );
    client.connect({
      host: target.host,
      port: target.port,
      username: target.username,
      ...("key" in target ? { privateKey: target.key.private } : { password: target.password }),
      readyTimeout: 5_000,
      hostVerifier: (key: Buffer) => {
        hostKey = `ssh-ed25519 ${key.toString("base64")}`;
        return true;
      },
      algorithms: { serverHostKey: ["ssh-ed25519"] },
    });
  });
}

/**
 * Logs in as soon as the machine answers; a refused key is an error at once.
 *
 * @throws the last error when the machine has not let anybody in within `deadlineMs`.
 */
export async function loginWhenUp(target: Login, deadlineMs = 45_000): Promise<Session> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    try {
      // A SYN that is lost while the machine boots is repeated after 1, 3, 7 … s; new attempts find it up earlier.
      if (await answers(target.host, target.port, 250)) return await login(target);
      if (performance.now() > deadline) throw new Error(`${target.host}:${target.port} does not answer`);
    } catch (error) {
      const { level } = error as { level?: string };
      if (level === "client-authentication" || performance.now() > deadline) throw error;
    }
    await delay(50);
  }
}

const execDeadlineMs = 30_000;

function run(client: ssh2.Client, command: string): ReturnType<Session["run"]> {
  return new Promise((resolve, reject) => {
    const tooLate = () => reject(new Error(`no end of "${command}" within ${execDeadlineMs} ms`));
    const timer = setTimeout(tooLate, execDeadlineMs);
    client.exec(command, (error, channel) => {
      if (error) {
        clearTimeout(timer);
        return reject(error);
      }
      const out = { stdout: "", stderr: "" };
      channel.on("data", (data: Buffer) => {
        out.stdout += data;
      });
      channel.stderr.on("data", (data: Buffer) => {
        out.stderr += data;
      });
      channel.on("close", (code: number | null) => {
        clearTimeout(timer);
        resolve({ code, ...out });
      });
    });
  });
}

/** Runs a command that must succeed; returns its stdout. */
export async function succeed(session: Session, command: string): Promise<string> {
  const result = await session.run(command);
  assert.equal(result.code, 0, `${command}: exit ${result.code}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** Whether a TCP connection is accepted within `timeoutMs`. */
export function answers(host: string, port: number, timeoutMs = 1_000): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, timeout: timeoutMs });
    const end = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.on("connect", () => end(true));
    socket.on("timeout", () => end(false));
    socket.on("error", () => end(false));
  });
}

/** Resolves when `condition` holds. @throws when it does not within `deadlineMs`. */
export async function until(condition: () => boolean | Promise<boolean>, deadlineMs = 45_000): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not so within ${deadlineMs} ms: ${condition}`);
    await delay(50);
  }
}
