/** Puts another file in the configuration's place and has the daemon take it over: both, or neither. */
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { userInfo } from "node:os";
import type { Reloaded } from "../config/watch.ts";
import { askDaemon, NoDaemonError } from "./admin-client.ts";

/** What the daemon said of it; null when none runs: the next one starts with the new file. */
export async function applyConfig(stateDir: string, from: string, to: string): Promise<Reloaded | null> {
  const ask = <T>(method: "GET" | "POST", path: string, body?: object): Promise<T | null> =>
    askDaemon<T>(stateDir, method, path, body).catch((error) => {
      if (error instanceof NoDaemonError) return null;
      throw error;
    });
  const daemon = await ask<{ readonly path: string }>("GET", "/config");
  if (daemon && existsSync(to) && realpathSync(daemon.path) !== realpathSync(to)) {
    throw new Error(`the daemon reads ${daemon.path}, not ${to}: name that one with --config`);
  }
  const next = readFileSync(from);
  const old = existsSync(to) ? readFileSync(to) : null;
  put(to, next);
  const answer = await ask<Reloaded>("POST", "/config/reload", { actor: `person:${userInfo().username}` });
  if (answer?.outcome !== "refused") return answer;
  if (old) put(to, old);
  throw new Error(`the daemon refused it, and ${to} is as it was: ${answer.why}`);
}

/** In one step, with the rights that the file had: a daemon of another user must be able to read it still. */
function put(path: string, content: Buffer): void {
  const before = existsSync(path) ? statSync(path) : null;
  const draft = `${path}.draft`;
  const file = openSync(draft, "w", 0o640);
  try {
    writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  if (before) {
    chmodSync(draft, before.mode & 0o777);
    if (process.getuid?.() === 0) chownSync(draft, before.uid, before.gid);
  }
  renameSync(draft, path);
}
