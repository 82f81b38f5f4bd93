/**
 * The controller's end of the hand-over program: an exec that was started ahead of time and waits for one request.
 * Connection, Node's start and the gateway's handshake are paid for before the customer comes.
 */
import { type Clock, systemClock } from "../clock.ts";
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
import type { RunningExec, Ssh, SshConnection, SshTarget } from "../ssh/ssh.ts";
import type { Installed } from "./machine.ts";
import {
  type Attestation,
  encodeFrame,
  type MachineReply,
  type MachineRequest,
  type Question,
} from "./protocol.ts";

export type HandOverRequest = Extract<MachineRequest, { op: "hand-over" }>;
export type HealthReply = Extract<MachineReply, { type: "health" }>;
export type Step = { readonly step: string; readonly ms: number };

export interface HandOverResult {
  readonly attestation: Attestation;
  /** On the machine, from the whole frame to the attestation. */
  readonly ms: number;
}

export interface ArmedMachine {
  /** False once connection or program are gone, or a request was sent: one program serves one request. */
  readonly alive: boolean;
  readonly programVersion: string;
  /** What the machine has on record as installed; null when it has none, or a program that does not tell. */
  readonly installed: Installed | null;
  /** Whether the program holds an open control connection to the gateway; without one a hand-over takes longer. */
  readonly gateway: boolean;
  /**
   * Sends the one request. @throws BorderError of border `machine`: `permanent` when the program says that a
   * repetition cannot help, else `transient` (also when the connection is lost: ask again, the machine knows whether
   * it was done).
   */
  run(request: HandOverRequest, onStep?: (step: Step) => void): Promise<HandOverResult>;
  /** `repair` restarts a unit first: give it 130 s. */
  inspect(question: Question, onStep?: (step: Step) => void): Promise<HealthReply>;
  close(): void;
  /** Called once, when it is lost before it was used or closed. */
  onLost(listener: (error: Error | null) => void): void;
}

/** sshd runs the forced command whatever is asked for; process machines too. */
const command = "clawpool-machine";
const armTimeoutMs = 10_000;
/** A restart of the gateway's unit may take 120 s on the machine (ansible/files/machine/host.mjs), then proofs. */
const runTimeoutMs = 150_000;

const problem = (code: string, message: string, cause?: unknown) =>
  new BorderError(message, { border: "machine", kind: kindOf("machine", { code }), code, cause });

/** Opens a connection of its own to `target` (root's forced command), starts the program, waits until it is armed. */
export async function arm(
  ssh: Ssh,
  target: SshTarget,
  options: { clock?: Clock; timeoutMs?: number } = {},
): Promise<ArmedMachine> {
  const { clock = systemClock, timeoutMs = armTimeoutMs } = options;
  const connection = await ssh.connect(target);
  try {
    const exec = await connection.start(command);
    const replies = parsed(exec);
    const first = await deadline(clock, timeoutMs, "arming", replies.next());
    if (first.done) throw problem("ended", `the hand-over program on ${target.host} ended at once`);
    if (first.value.type === "failed") throw failure(first.value);
    if (first.value.type !== "armed")
      throw problem("protocol", `unexpected ${first.value.type} while arming`);
    return armed(connection, exec, replies, first.value, clock);
  } catch (error) {
    connection.close();
    throw error;
  }
}

function armed(
  connection: SshConnection,
  exec: RunningExec,
  replies: AsyncGenerator<MachineReply>,
  hello: Extract<MachineReply, { type: "armed" }>,
  clock: Clock,
): ArmedMachine {
  let state: "waiting" | "used" | "closed" | "lost" = "waiting";
  let gateway = hello.gateway;
  const listeners: ((error: Error | null) => void)[] = [];
  const lose = (error: Error | null) => {
    if (state !== "waiting") return;
    state = "lost";
    connection.close();
    for (const listener of listeners.splice(0)) listener(error);
  };
  connection.onClose(lose);

  // One reader for the exec's whole life: it follows the gateway's state while armed, then hands on to the request.
  let deliver: ((reply: MachineReply) => void) | null = null;
  const over = Promise.withResolvers<never>();
  over.promise.catch(() => {});
  const read = async () => {
    for await (const reply of replies) {
      if (reply.type === "armed") gateway = reply.gateway;
      else if (deliver) deliver(reply);
      else return lose(reply.type === "failed" ? failure(reply) : null);
    }
    over.reject(
      problem("ended", `the hand-over program on ${connection.target.host} ended without a result`),
    );
    lose(null);
  };
  read().catch((error: Error) => {
    over.reject(error);
    lose(error);
  });

  const request = async <T extends MachineReply["type"]>(
    body: MachineRequest,
    wanted: T,
    onStep: (step: Step) => void,
  ): Promise<Extract<MachineReply, { type: T }>> => {
    if (state !== "waiting")
      throw problem("not-armed", `the program on ${connection.target.host} is ${state}`);
    state = "used";
    const answer = Promise.withResolvers<Extract<MachineReply, { type: T }>>();
    deliver = (reply) => {
      if (reply.type === "step") onStep({ step: reply.step, ms: reply.ms });
      else if (reply.type === "failed") answer.reject(failure(reply));
      else if (reply.type === wanted) answer.resolve(reply as Extract<MachineReply, { type: T }>);
    };
    try {
      exec.end(encodeFrame(body));
      return await deadline(clock, runTimeoutMs, body.op, Promise.race([answer.promise, over.promise]));
    } finally {
      connection.close();
    }
  };

  return {
    get alive() {
      return state === "waiting" && connection.alive;
    },
    programVersion: hello.program,
    installed: hello.installed ?? null,
    get gateway() {
      return gateway;
    },
    async run(body, onStep = () => {}) {
      const { attestation, ms } = await request(body, "attested", onStep);
      return { attestation, ms };
    },
    inspect: (question, onStep = () => {}) => request(question, "health", onStep),
    close() {
      if (state === "waiting") state = "closed";
      connection.close();
    },
    onLost(listener) {
      if (state === "lost") listener(null);
      else listeners.push(listener);
    },
  };
}

const failure = (reply: Extract<MachineReply, { type: "failed" }>) =>
  new BorderError(reply.reason, {
    border: "machine",
    kind: kindOf("machine", { code: reply.retryable ? "retryable" : "refused" }),
    code: reply.step,
  });

async function* parsed(exec: RunningExec): AsyncGenerator<MachineReply> {
  for await (const line of exec.lines()) {
    let reply: MachineReply;
    try {
      reply = JSON.parse(line) as MachineReply;
    } catch (error) {
      // The line itself is not told: a program that broke the protocol may have printed anything.
      throw problem("protocol", "the hand-over program said something that is not JSON", error);
    }
    yield reply;
  }
}

/** Why a wait is over; made once, as each `abort()` would make an exception with its stack. */
const over = new Error("over");

async function deadline<T>(clock: Clock, ms: number, what: string, promise: Promise<T>): Promise<T> {
  const ended = new AbortController();
  const late = clock.delay(ms, ended.signal).then((): T => {
    throw problem("timeout", `${what} took more than ${ms} ms`);
  });
  late.catch(() => {}); // ended early, it loses the race
  return Promise.race([promise, late]).finally(() => ended.abort(over));
}
