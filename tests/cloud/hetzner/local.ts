import { ZodError } from "zod";
import type { Bill } from "./billing.ts";
import type { Call } from "./calls.ts";
import type { FaultInput, Faults } from "./faults.ts";
import type { Answer } from "./http/router.ts";
import type { NewProject } from "./http/tokens.ts";

export interface LocalControls {
  readonly faults: Faults;
  calls(): Call[];
  clearCalls(): void;
  bill(project?: number): Bill;
  /** Ids of all projects. */
  projects(): readonly number[];
  /** With tokens of its own; kept for as long as the state is. */
  createProject(): NewProject;
}

/**
 * The emulator's own routes, for people and for tests in other processes:
 * `GET /_local/calls`, `POST /_local/calls/clear`, `GET /_local/bill[?project=1]`, `GET | POST /_local/projects`,
 * `GET | POST | DELETE /_local/faults`, `DELETE /_local/faults/{id}`, `GET /_local/faults/log`.
 */
export function answerLocal(
  controls: LocalControls,
  method: string,
  { pathname, searchParams }: URL,
  body: unknown,
): Answer {
  const id = /^\/_local\/faults\/([0-9]+)$/.exec(pathname)?.[1];
  if (id !== undefined && method === "DELETE") {
    return controls.faults.remove(Number(id)) ? { status: 204 } : problem(404, `no fault ${id}`);
  }
  switch (`${method} ${pathname}`) {
    case "GET /_local/calls":
      return { status: 200, body: { calls: controls.calls() } };
    case "POST /_local/calls/clear":
      controls.clearCalls();
      return { status: 204 };
    case "GET /_local/bill": {
      const project = searchParams.get("project");
      return { status: 200, body: controls.bill(project === null ? undefined : Number(project)) };
    }
    case "GET /_local/projects":
      return { status: 200, body: { projects: controls.projects() } };
    case "POST /_local/projects":
      return { status: 201, body: controls.createProject() };
    case "GET /_local/faults":
      return { status: 200, body: { faults: controls.faults.list() } };
    case "GET /_local/faults/log":
      return { status: 200, body: { log: controls.faults.log() } };
    case "DELETE /_local/faults":
      controls.faults.clear();
      return { status: 204 };
    case "POST /_local/faults":
      try {
        return { status: 201, body: { id: controls.faults.add(body as FaultInput) } };
      } catch (error) {
        if (error instanceof ZodError) return problem(422, error.message);
        throw error;
      }
    default:
      return problem(404, `no local route ${method} ${pathname}`);
  }
}

const problem = (status: number, error: string): Answer => ({ status, body: { error } });
