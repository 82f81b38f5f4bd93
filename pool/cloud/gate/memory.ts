/**
 * What the gate remembers of earlier answers, so that terraform's many equal reads become one: the catalogue for
 * some minutes, a server for some seconds. Writes through the gate forget what they change.
 */
import { z } from "zod";
import type { Clock } from "../../clock.ts";
import type { RunPermit } from "../cloud.ts";
import { serverShape } from "../shapes.ts";
import { json } from "../wire.ts";
import type { Reply } from "./reply.ts";
import { platformCollections } from "./request.ts";

/** Changed by nobody who uses this project. */
const catalogue = ["server_types", "images", "locations", "datacenters"];
/** Of more answers than this the oldest is forgotten. */
const rememberedAnswers = 500;

export interface Memory {
  /** The remembered answer of `path`, or that of `load`; several who ask at once share one call. */
  read(path: string, permit: RunPermit, load: () => Promise<Reply>): Promise<Reply>;
  /** The same for `GET /servers/{id}`; only answers in which nothing moves are kept. */
  readServer(id: number, load: () => Promise<Reply>): Promise<Reply>;
  /** Keeps the server that a `PUT /servers/{id}` answered. */
  keepServer(id: number, reply: Reply): void;
  forgetServer(id: number): void;
  /** Forgets everything below a collection. */
  forgetCollection(collection: string): void;
  /** Forgets the catalogue: an order was refused, so something in it may have changed. */
  forgetAll(): void;
}

export interface MemoryOptions {
  readonly clock: Clock;
  readonly catalogueMs: number;
  readonly serverMs: number;
  /** True while an action is known to run on the server. */
  readonly busy: (serverId: number) => boolean;
}

interface Kept {
  readonly reply: Promise<Reply>;
  readonly until: number;
}

export function createMemory({ clock, catalogueMs, serverMs, busy }: MemoryOptions): Memory {
  const answers = new Map<string, Kept>();
  const servers = new Map<number, { readonly reply: Reply; readonly until: number }>();
  /** Counts the writes on a server, so that an answer which one has overtaken is not kept. */
  const writes = new Map<number, number>();
  let writeCount = 0;

  /** Platform resources are read fresh by the platform's own runs: a person's `diff` must see the truth. */
  function isRemembered(path: string, permit: RunPermit): boolean {
    const collection = path.split(/[/?]/)[1] ?? "";
    if (catalogue.includes(collection)) return true;
    return permit.kind === "machine" && (platformCollections as readonly string[]).includes(collection);
  }

  function keepServer(id: number, reply: Reply): void {
    servers.delete(id);
    if (reply.status !== 200 || busy(id)) return;
    const parsed = z.object({ server: serverShape }).safeParse(json(reply));
    if (!parsed.success || parsed.data.server.locked) return;
    if (parsed.data.server.status !== "running" && parsed.data.server.status !== "off") return;
    servers.set(id, { reply, until: clock.now() + serverMs });
  }

  return {
    read(path, permit, load) {
      if (!isRemembered(path, permit)) return load();
      const kept = answers.get(path);
      if (kept && kept.until > clock.now()) return kept.reply;
      const reply = load();
      const mine = { reply, until: clock.now() + catalogueMs };
      answers.delete(path);
      answers.set(path, mine);
      for (const [oldest] of answers) {
        if (answers.size <= rememberedAnswers) break;
        answers.delete(oldest);
      }
      const drop = () => {
        if (answers.get(path) === mine) answers.delete(path);
      };
      reply.then((loaded) => {
        if (loaded.status !== 200) drop();
      }, drop);
      return reply;
    },
    async readServer(id, load) {
      const kept = servers.get(id);
      if (kept && kept.until > clock.now() && !busy(id)) return kept.reply;
      servers.delete(id);
      const before = writes.get(id);
      const reply = await load();
      if (writes.get(id) === before) keepServer(id, reply);
      return reply;
    },
    keepServer,
    forgetServer(id) {
      servers.delete(id);
      writes.delete(id);
      writes.set(id, ++writeCount);
      for (const [oldest] of writes) {
        if (writes.size <= rememberedAnswers) break;
        writes.delete(oldest);
      }
    },
    forgetCollection(collection) {
      for (const path of answers.keys()) {
        if (path.split(/[/?]/)[1] === collection) answers.delete(path);
      }
    },
    forgetAll: () => answers.clear(),
  };
}
