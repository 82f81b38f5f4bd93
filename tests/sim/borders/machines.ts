/** The inside of the VMs: SSH with its forced command, and ansible-playbook over it. */
import type { Ansible, PlaybookResult } from "../../../pool/ansible/ansible.ts";
import { BorderError } from "../../../pool/errors.ts";
import type { Attestation, MachineReply, MachineRequest } from "../../../pool/machine/protocol.ts";
import { firstBoot } from "../../../pool/machine/user-data.ts";
import type { ExecResult, RunningExec, Ssh, SshConnection, SshTarget } from "../../../pool/ssh/ssh.ts";
import { canonicalJson } from "../../../pool/store/audit-chain.ts";
import { publicHalf } from "../chance.ts";
import type { SimMachine, SimServer, World } from "../world.ts";
import { joinTailnet, leaveTailnet } from "./tailnet.ts";

const sshError = (kind: "transient" | "permanent" | "auth", code: string) =>
  new BorderError(`ssh: ${code}`, { border: "ssh", kind, code });

/** @throws BorderError as the real border does */
function enter(world: World, target: SshTarget): SimServer {
  const server = world.server(target.host);
  if (!server || server.deleting || server.off) throw sshError("transient", "EHOSTUNREACH");
  if (world.clock.now() < server.bootedAt) throw sshError("transient", "ECONNREFUSED");
  if (server.machine.rot === "host-key" || server.machine.hostKey !== target.hostKey)
    throw sshError("permanent", "host-key");
  const { authorizedKey } = server.machine;
  if (authorizedKey && publicHalf(target.privateKey) !== `ssh-ed25519 ${authorizedKey}`)
    throw sshError("auth", "auth");
  const welcome = target.username === "root" ? server.machine.prepared : server.machine.admin;
  if (!welcome) throw sshError("auth", "auth");
  return server;
}

export function simulatedSsh(world: World): Ssh {
  return {
    async connect(target) {
      await world.takes(30, 120);
      if (world.strikes(0.01)) throw sshError("transient", "timeout");
      return connection(world, enter(world, target), target);
    },
  };
}

function connection(world: World, server: SimServer, target: SshTarget): SshConnection {
  let open = true;
  const listeners: ((error: Error | null) => void)[] = [];
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  const cut = (error: Error | null) => {
    if (!open) return;
    open = false;
    lost.reject(error ?? sshError("transient", "closed"));
    for (const listener of listeners.splice(0)) listener(error);
  };
  const here = () => {
    if (!open || server.deleting || server.off) throw sshError("transient", "closed");
  };
  // A warm connection of hours breaks now and then.
  if (world.strikes(0.1)) {
    void world.clock
      .delay(world.chance.between(1_000, 3_600_000))
      .then(() => cut(sshError("transient", "reset")));
  }
  return {
    target,
    get alive() {
      return open && !server.deleting && !server.off;
    },
    async exec(command, options = {}) {
      here();
      const work = async () => {
        await world.takes(20, 300);
        if (world.strikes(0.02)) throw sshError("transient", "closed");
        if (command === "clawpool-machine ask") return asked(world, server, options.stdin);
        const result = admin(world, server, command);
        await world.takes(5, 20);
        if (world.strikes(0.02)) throw sshError("transient", "closed");
        return result;
      };
      return Promise.race([work(), lost.promise]);
    },
    async start() {
      here();
      return program(world, server, cut, lost.promise);
    },
    onClose: (listener) => {
      listeners.push(listener);
    },
    close: () => cut(null),
  };
}

/** What the program answers to a heartbeat. What crashed comes back by its restart, what went bad does not. */
async function asked(
  world: World,
  { machine }: SimServer,
  frame: string | Uint8Array = "",
): Promise<ExecResult> {
  const text = Buffer.from(frame).toString("utf8");
  const request = JSON.parse(text.slice(text.indexOf("\n") + 1)) as MachineRequest;
  if (request.op === "repair") {
    await world.takes(8_000, 20_000);
    if (machine.rot === (request.unit === "tailscaled" ? "tailscaled" : "crash")) machine.rot = null;
  }
  const isDown = machine.rot === "gateway" || machine.rot === "crash";
  const reply: MachineReply = {
    type: "health",
    unit: isDown ? "failed" : "active",
    gateway: !isDown,
    tailnet: machine.rot === "tailnet" || machine.rot === "tailscaled" ? "unreachable" : "Running",
    tailscaled: "failed",
    relay: true,
    version: "1",
    handedOver: null,
  };
  return { code: 0, stdout: `${JSON.stringify(reply)}\n`, stderr: "" };
}

function admin(world: World, { machine }: SimServer, command: string): ExecResult {
  const done = (stdout: string): ExecResult => ({ code: 0, stdout, stderr: "" });
  machine.bornKey ??= world.chance.keyPair().publicKey;
  if (command === firstBoot.make) return done(machine.bornKey);
  if (command === firstBoot.install) {
    machine.hostKey = machine.bornKey;
    return done("");
  }
  throw world.unknown(`the simulated machine knows no command ${command}`);
}

/** The hand-over program: armed, one document, replies. */
function program(
  world: World,
  server: SimServer,
  cut: (error: Error | null) => void,
  lost: Promise<never>,
): RunningExec {
  const replies: MachineReply[] = [];
  let wake = Promise.withResolvers<void>();
  let over = false;
  const say = (reply: MachineReply) => {
    replies.push(reply);
    wake.resolve();
  };
  const end = () => {
    over = true;
    wake.resolve();
  };
  void world.takes(150, 400).then(() => {
    const { rot, installed } = server.machine;
    say({ type: "armed", program: "1", gateway: rot !== "gateway", installed });
  });

  async function inspect(): Promise<void> {
    if (world.strikes(0.02)) return cut(sshError("transient", "reset"));
    await world.takes(20, 60);
    if (server.deleting || server.off) return cut(sshError("transient", "reset"));
    // The gateway comes some time after sshd.
    const up = world.clock.now() - server.bootedAt > 12_000;
    const tailnet = server.machine.tailnetNode === null ? "NeedsLogin" : "Running";
    const { customer, done } = server.machine;
    const handedOver =
      customer === null
        ? null
        : { order: customer, generation: done?.generation ?? 1, done: done?.order === customer };
    const unit = up ? "active" : "activating";
    say({ type: "health", unit, gateway: up, tailnet, version: "1", handedOver });
    end();
  }

  async function serve(request: MachineRequest): Promise<void> {
    if (request.op !== "hand-over") return inspect();
    if (world.strikes(0.02)) return cut(sshError("transient", "reset"));
    await world.takes(20, 60);
    return alone(server.machine, () => handOver(request));
  }

  async function handOver(request: HandOver): Promise<void> {
    const { machine } = server;
    const { order, generation } = request;
    for (const secret of [request.gatewayToken, ...Object.values(request.env)]) world.secrets.add(secret);
    const again = machine.done?.order === order && machine.done.generation === generation;
    const fail = (reason: string, retryable: boolean, step = "sim") => {
      say({ type: "failed", step, reason, retryable });
      end();
    };
    if (!request.rehearsal) witness(world, server, order);
    const changed = changesOwner(machine, request);
    if (changed) return fail(changed.reason, false, changed.step);
    machine.noted = { order, generation, rehearsal: request.rehearsal, content: contentOf(request) };
    // Which token is in force does not matter: the program tries what it was told and what `.env` says.
    if (machine.rot === "disk") return fail("no space left on device", false);
    if (machine.rot === "gateway") return fail("the unit's restart failed", true);
    if (machine.rot === "tailnet" && request.tailnet) return fail("tailscaled does not answer", true);
    if (world.strikes(0.02)) return fail("the gateway does not answer", true);
    if (world.strikes(0.01)) return fail("the unit is broken", false);
    say({ type: "step", step: "env", ms: 12 });
    await world.takes(80, 300);
    if (server.deleting) return cut(sshError("transient", "reset"));
    let node = machine.tailnetNode;
    let address = world.devices.get(node ?? "")?.addresses[0] ?? null;
    if (!again) {
      try {
        ({ node, address } = join(world, server, request));
      } catch (error) {
        return fail(String(error), false, "tailnet");
      }
      machine.gatewayToken = request.gatewayToken;
      machine.done = { order, generation };
      if (request.dropAdmin) machine.admin = false;
    }
    if (world.strikes(0.02)) return cut(sshError("transient", "reset"));
    const attestation: Attestation = {
      newTokenAccepted: true,
      oldTokenRefused: true,
      unitActive: true,
      tailnetAddress: address,
      tailnetNode: node,
      way: again ? "unchanged" : "reload",
    };
    say({ type: "attested", attestation, ms: 140 });
    end();
  }

  return {
    write: () => {
      throw world.unknown("the daemon sends its one frame whole");
    },
    end(frame) {
      const text = Buffer.from(frame ?? "").toString("utf8");
      void serve(JSON.parse(text.slice(text.indexOf("\n") + 1)) as MachineRequest);
    },
    async *lines() {
      for (;;) {
        for (let reply = replies.shift(); reply; reply = replies.shift()) yield JSON.stringify(reply);
        if (over) return;
        await Promise.race([wake.promise, lost]);
        wake = Promise.withResolvers();
      }
    },
    done: new Promise<never>(() => {}),
    close: () => cut(null),
  };
}

const turns = new WeakMap<SimMachine, Promise<void>>();

/** As the program's lock: what a daemon that is dead by now began comes to its end before the next one is judged. */
function alone(machine: SimMachine, work: () => Promise<void>): Promise<void> {
  const done = (turns.get(machine) ?? Promise.resolve()).then(work);
  turns.set(machine, done);
  return done;
}

/** The machine has seen something of this order's customer: from then on it is nobody else's. */
function witness(world: World, { id, name, machine }: SimServer, order: string): void {
  if (machine.customer !== null && machine.customer !== order) {
    world.violate("I2", `${name} has seen order ${machine.customer} and gets the document of ${order}`);
  }
  for (const other of world.servers.values()) {
    if (other.id !== id && !other.deleting && other.machine.done?.order === order) {
      world.note(`order ${order} had ${other.name} before ${name}`);
    }
  }
  machine.customer = order;
}

type HandOver = Extract<MachineRequest, { op: "hand-over" }>;

/** What must be the same for it to be the same request: a repetition brings another key of the tailnet. */
const contentOf = ({ gatewayToken, env }: HandOver): string => canonicalJson({ gatewayToken, env });

/** The program itself never lets a machine that is an order's be another's. @returns why it refuses; null if not */
function changesOwner(
  { noted }: SimMachine,
  request: HandOver,
): { readonly step: string; readonly reason: string } | null {
  if (!noted || noted.rehearsal) return null;
  if (request.order !== noted.order)
    return { step: "another-order", reason: "the machine is another order's" };
  if (request.rehearsal || request.generation < noted.generation)
    return { step: "order", reason: "the generation is past" };
  const other = request.generation === noted.generation && contentOf(request) !== noted.content;
  return other ? { step: "order", reason: "the same generation with another content" } : null;
}

/**
 * @returns its node and address in the tailnet; nulls when it is to join none
 * @throws Error saying why it could not join
 */
function join(
  world: World,
  server: SimServer,
  { tailnet }: HandOver,
): { node: string | null; address: string | null } {
  if (!tailnet) return { node: null, address: null };
  const node = joinTailnet(world, tailnet.key, tailnet.hostname);
  const address = world.devices.get(node)?.addresses[0] ?? null;
  if (tailnet.logout) leaveTailnet(world, node);
  else server.machine.tailnetNode = node;
  return { node, address };
}

/** What it installed does not last: noticed when the machine is proved again, if not sooner. */
function rotLater(world: World, server: SimServer): void {
  void world.clock.delay(world.chance.between(60_000, 300_000)).then(() => {
    server.machine.rot = "disk";
    world.note(`${server.name} goes bad: it was prepared by ${server.machine.installed?.recipe}`);
  });
}

export function simulatedAnsible(world: World): Ansible {
  return {
    recipe: async () => world.recipe.text,
    async prepare(run, signal): Promise<PlaybookResult> {
      const recipe = world.recipe;
      const ended = new Promise<void>((resolve) =>
        signal?.addEventListener("abort", () => resolve(), { once: true }),
      );
      const work = async () => {
        await world.takes(1_000, 3_000);
        const server = enter(world, run);
        // One in a hundred hangs until somebody ends it.
        await world.clock.delay(
          world.strikes(0.01) || world.builds.hangs ? 3 * 3_600_000 : world.chance.between(90_000, 150_000),
        );
        return server;
      };
      const late = world.clock.delay(run.timeoutMs).then(() => "late" as const);
      const server = await Promise.race([work(), late, ended.then(() => "late" as const)]);
      if (server === "late")
        throw new BorderError("timeout", { border: "ansible", kind: "transient", code: "timeout" });
      const result = { run: `play-${world.id()}`, tasks: [], logFile: "", seconds: 100 };
      if (world.strikes(0.05)) {
        const failure = { task: "apt", message: "no route", kind: "transient" } as const;
        return { ...result, ok: false, failure, installed: {} };
      }
      if (world.builds.broken || recipe.fault === "fails" || world.strikes(0.03)) {
        const failure = { task: "openclaw", message: "exit 1", kind: "permanent" } as const;
        return { ...result, ok: false, failure, installed: {} };
      }
      server.machine.prepared = true;
      for (const secret of Object.values(run.secretVars)) world.secrets.add(secret.expose());
      server.machine.gatewayToken = run.secretVars.clawpool_pool_token?.expose() ?? null;
      const installed = { openclaw: "1", recipe: recipe.text };
      server.machine.installed = installed;
      if (recipe.fault === "rots") rotLater(world, server);
      return { ...result, ok: true, failure: null, installed };
    },
  };
}
