import { createHash, randomBytes } from "node:crypto";
import type { Store } from "../store/store.ts";

export interface Access {
  readonly project: number;
  /** False: the token may only GET. */
  readonly write: boolean;
}

export interface NewProject {
  readonly project: number;
  readonly token: string;
  readonly readOnlyToken: string;
}

/** Length and alphabet that terraform's provider and the CLI insist on. */
const tokenShape = /^[A-Za-z0-9]{64}$/;
const digest = (token: string) => createHash("sha256").update(token).digest("hex");
export const randomToken = () => randomBytes(32).toString("hex");

/**
 * Which token opens which project. Those given at start hold for this run; those of projects made at run time are
 * kept, as digests, for as long as the state is.
 */
export class Tokens {
  readonly #store: Store;
  readonly #given = new Map<string, Access>();

  /**
   * @param tokens one a project, in the order of projects
   * @param readOnlyTokens likewise; may be fewer
   * @throws Error unless there is one, and each has 64 letters and digits and stands there once
   */
  constructor(store: Store, tokens: readonly string[], readOnlyTokens: readonly string[]) {
    this.#store = store;
    const all = [...tokens, ...readOnlyTokens];
    if (tokens.length === 0 || all.some((token) => !tokenShape.test(token))) {
      throw new Error("a Hetzner token has 64 letters and digits");
    }
    if (new Set(all).size < all.length) throw new Error("a Hetzner token opens one project, in one way");
    if (readOnlyTokens.length > tokens.length) throw new Error("a read-only token without its project");
    tokens.forEach((token, index) => {
      this.#given.set(digest(token), { project: index + 1, write: true });
    });
    readOnlyTokens.forEach((token, index) => {
      this.#given.set(digest(token), { project: index + 1, write: false });
    });
  }

  /** @param header the `Authorization` header */
  find(header: string | undefined): Access | null {
    const [, token] = /^Bearer ([^ ]+)$/.exec(header ?? "") ?? [];
    if (token === undefined) return null;
    const given = this.#given.get(digest(token));
    if (given) return given;
    const row = this.#store.prepare("SELECT project, write FROM token WHERE digest = ?").get(digest(token)) as
      | { project: number; write: number }
      | undefined;
    return row ? { project: row.project, write: row.write === 1 } : null;
  }

  /** Ids of all projects, in their order. */
  projects(): number[] {
    const rows = this.#store.prepare("SELECT DISTINCT project FROM token").all() as { project: number }[];
    const known = [...this.#given.values(), ...rows].map(({ project }) => project);
    return [...new Set(known)].sort((a, b) => a - b);
  }

  createProject(): NewProject {
    const project = Math.max(...this.projects()) + 1;
    const [token, readOnlyToken] = [randomToken(), randomToken()];
    const insert = this.#store.prepare("INSERT INTO token (digest, project, write) VALUES (?, ?, ?)");
    this.#store.transaction(() => {
      insert.run(digest(token), project, 1);
      insert.run(digest(readOnlyToken), project, 0);
    });
    return { project, token, readOnlyToken };
  }
}
