import { ZodError } from "zod";
import type { Bill } from "./billing.ts";
import type { Call } from "./calls.ts";
import type { FaultInput, Faults } from "./faults.ts";
import type { Answer } from "./http/router.ts";

export interface LocalControls {
  readonly faults: Faults;
  calls(): Call[];
  clearCalls(): void;
  bill(): Bill;
}

/**
 * The emulator's own routes, for people and for tests in other processes:
 * `GET /_local/calls`, `POST /_local/calls/clear`, `GET /_local/bill`,
 * `GET | POST | DELETE /_local/faults`, `DELETE /_local/faults/{id}`.
 */
export function answerLocal(controls: LocalControls, method: string, path: string, body: unknown): Answer {
  const id = /^\/_local\/faults\/([0-9]+)$/.exec(path)?.[1];
  if (id !== undefined && method === "DELETE") {
    return controls.faults.remove(Number(id)) ? { status: 204 } : problem(404, `no fault ${id}`);
  }
  switch (`${method} ${path}`) {
    case "GET /_local/calls":
      return { status: 200, body: { calls: controls.calls() } };
    case "POST /_local/calls/clear":
      controls.clearCalls();
      return { status: 204 };
    case "GET /_local/bill":
      return { status: 200, body: controls.bill() };
    case "GET /_local/faults":
      return { status: 200, body: { faults: controls.faults.list() } };
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
      return problem(404, `no local route ${method} ${path}`);
  }
}

const problem = (status: number, error: string): Answer => ({ status, body: { error } });
