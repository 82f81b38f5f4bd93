/** The thread that replays own history for a share that is asked; choose-in-background.ts starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { type ChoiceRequest, choiceOf } from "./choose-by-replay.ts";

parentPort?.postMessage(choiceOf(workerData as ChoiceRequest));
