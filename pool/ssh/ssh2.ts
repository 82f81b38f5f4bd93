/**
 * SSH on the ssh2 library. What its defaults would get wrong is set here: any host key is accepted, Nagle's
 * algorithm stays on (44 ms an exec instead of 2), a dead peer is never noticed, an exec may wait for ever.
 */
import { timingSafeEqual } from "node:crypto";
import { createRequire } from "node:module";
import type { ClientChannel, ConnectConfig, Client as Ssh2Client } from "ssh2";
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
import { publicKeyBytes } from "./keys.ts";
import type { ExecResult, RunningExec, Ssh, SshConnection, SshTarget } from "./ssh.ts";

const { Client } = createRequire(import.meta.url)("ssh2") as typeof import("ssh2");

const readyTimeoutMs = 5_000;
const execTimeoutMs = 30_000;
/** A dead peer is known after 2 unanswered keepalives: 20-30 s. */
const keepaliveIntervalMs = 10_000;
const keepaliveCountMax = 2;
/** What a command may print before it is cut off: commands here are ours and print little. */
const maxOutputBytes = 4 * 1024 * 1024;

/** @param code ours (pool/error-kinds.ts), or the socket's */
function sshError(code: string, message: string, cause?: unknown): BorderError {
  return new BorderError(message, { border: "ssh", kind: kindOf("ssh", { code }), code, cause });
}

/** Maps what ssh2 and the socket say. A refused key is `auth`; what a later try may cure is `transient`. */
function mapped(target: SshTarget, error: unknown): BorderError {
  if (error instanceof BorderError) return error;
  const where = `${target.username}@${target.host}:${target.port}`;
  const { level, code, message } = error as { level?: string; code?: string; message?: string };
  if (level === "client-authentication") return sshError("auth", `${where} refuses our key`, error);
  if (level === "client-timeout") return sshError("timeout", `${where} does not answer`, error);
  return sshError(code ?? level ?? "closed", `${where}: ${message ?? "connection lost"}`, error);
}

/** The one implementation of `Ssh`; it has no state of its own. */
export function createSsh(): Ssh {
  return { connect };
}

/**
 * Connects and authenticates; the promise settles within `timeoutMs` (5 s).
 *
 * @throws BorderError `permanent`/`host-key` when the machine shows another host key than the pinned one,
 *   `auth`/`auth` when it refuses our key, `transient` otherwise.
 */
function connect(target: SshTarget, options: { timeoutMs?: number } = {}): Promise<SshConnection> {
  const pinned = publicKeyBytes(target.hostKey);
  const client = new Client();
  const { promise, resolve, reject } = Promise.withResolvers<SshConnection>();
  let wrongKey = false;
  const deadline = options.timeoutMs ?? readyTimeoutMs;
  // ssh2's own readyTimeout does not cover a server that stops in the middle of the key exchange of a rekey, and
  // is per phase; this one is for the whole.
  const timer = setTimeout(() => {
    reject(sshError("timeout", `no SSH session on ${target.host}:${target.port} in ${deadline} ms`));
    client.destroy();
  }, deadline);
  const fail = (error: unknown) => {
    clearTimeout(timer);
    reject(
      wrongKey
        ? sshError("host-key", `${target.host}:${target.port} shows another host key than the pinned one`)
        : mapped(target, error),
    );
  };
  // Never removed: ssh2 may emit `error` after `ready` too, and without a listener that ends the process.
  client.on("error", fail);
  client.on("close", () => fail(sshError("closed", `${target.host}:${target.port} closed the connection`)));
  client.on("ready", () => {
    clearTimeout(timer);
    resolve(connection(client, target));
  });
  const config: ConnectConfig = {
    host: target.host,
    port: target.port,
    username: target.username,
    readyTimeout: deadline,
    keepaliveInterval: keepaliveIntervalMs,
    keepaliveCountMax,
    algorithms: { serverHostKey: ["ssh-ed25519"] },
    // One method only: saves the round trip of the `none` probe, and a failed one counts against us at sshd.
    privateKey: target.privateKey.expose(),
    authHandler: ["publickey"],
    hostVerifier: (key: Buffer) => {
      const same = key.length === pinned.length && timingSafeEqual(key, pinned);
      wrongKey = !same;
      return same;
    },
  };
  try {
    client.connect(config);
    client.setNoDelay(true);
  } catch (error) {
    // Thrown before anything is sent: a private key that cannot be parsed.
    fail(sshError("config", `cannot connect to ${target.host}: unusable settings or key`, error));
    client.destroy();
  }
  return promise;
}

function connection(client: Ssh2Client, target: SshTarget): SshConnection {
  let alive = true;
  let reason: Error | null = null;
  const listeners: ((error: Error | null) => void)[] = [];
  /** Rejects every exec that is under way: ssh2 tells them nothing when the peer vanishes. */
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  client.on("error", (error) => {
    reason = mapped(target, error);
  });
  client.on("close", () => {
    alive = false;
    lost.reject(reason ?? sshError("closed", `the connection to ${target.host}:${target.port} was closed`));
    for (const listener of listeners.splice(0)) listener(reason);
  });

  /** The status may come in the same packet as the word that the command runs, so it is listened for in the callback. */
  const start = (command: string): Promise<RunningExec> =>
    new Promise((resolve, reject) => {
      if (!alive) return reject(sshError("closed", `the connection to ${target.host} is closed`));
      lost.promise.catch(reject);
      client.exec(command, (error, channel) => {
        if (error) reject(sshError("exec", `${target.host} does not start the command`, error));
        else resolve(handle(channel, lost.promise));
      });
    });

  return {
    target,
    get alive() {
      return alive;
    },
    async exec(command, options = {}) {
      const timeoutMs = options.timeoutMs ?? execTimeoutMs;
      const late = Promise.withResolvers<never>();
      let running: RunningExec | null = null;
      let over = false;
      const timer = setTimeout(() => {
        over = true;
        running?.close();
        late.reject(sshError("timeout", `a command on ${target.host} took more than ${timeoutMs} ms`));
      }, timeoutMs);
      try {
        const opened = start(command).then((exec) => {
          running = exec;
          if (over) exec.close();
          else exec.end(options.stdin);
          return exec.done;
        });
        return await Promise.race([opened, late.promise]);
      } finally {
        clearTimeout(timer);
      }
    },
    start,
    onClose(listener) {
      if (alive) listeners.push(listener);
      else listener(reason);
    },
    close: () => {
      client.end();
    },
  };
}

function handle(channel: ClientChannel, lost: Promise<never>): RunningExec {
  const out: string[] = [];
  const err: string[] = [];
  let bytes = 0;
  const keep = (list: string[], text: string) => {
    bytes += text.length;
    if (bytes <= maxOutputBytes) list.push(text);
  };
  const lines = lineQueue();
  channel.setEncoding("utf8");
  channel.stderr.setEncoding("utf8");
  channel.on("data", (text: string) => {
    keep(out, text);
    lines.push(text);
  });
  channel.stderr.on("data", (text: string) => keep(err, text));
  channel.on("error", () => {});
  let code: number | null = null;
  channel.on("exit", (status: number | null) => {
    code = status;
  });
  const closed = new Promise<ExecResult>((resolve) => {
    channel.on("close", () => {
      lines.end();
      resolve({ code, stdout: out.join(""), stderr: err.join("") });
    });
  });
  lost.catch((error: unknown) => lines.end(error));
  const done = Promise.race([closed, lost]);
  // Whoever only reads the lines must not bring the process down.
  done.catch(() => {});
  return {
    write: (data) => {
      channel.write(data);
    },
    end: (data) => {
      channel.end(data);
    },
    lines: () => lines.read(),
    done,
    close: () => {
      channel.close();
    },
  };
}

/** Complete lines, for one reader; an unfinished last line is dropped. */
function lineQueue() {
  const ready: string[] = [];
  let rest = "";
  let ended = false;
  let failure: unknown;
  let wake: () => void = () => {};
  return {
    push(text: string) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      ready.push(...parts);
      wake();
    },
    end(error?: unknown) {
      if (ended) return;
      ended = true;
      failure = error;
      wake();
    },
    async *read(): AsyncGenerator<string> {
      for (;;) {
        const line = ready.shift();
        if (line !== undefined) yield line;
        else if (!ended)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        else if (failure !== undefined) throw failure;
        else return;
      }
    },
  };
}
