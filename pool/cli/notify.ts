import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { TestResult } from "../notify/sender.ts";
import type { Message } from "../store/store.ts";
import { askDaemon } from "./admin-client.ts";
import { age, table } from "./table.ts";

/** A channel has 30 s to answer. */
const testTimeoutMs = 60_000;

/** `clawpool notify [list]`, `clawpool notify test`, `clawpool notify retry|drop ID`. */
export function registerNotify(program: Command): void {
  const stateDir = () => loadConfig(program.opts().config).stateDir;
  const actor = `person:${userInfo().username}`;
  const post = <T>(path: string, body: object, timeoutMs?: number) =>
    askDaemon<T>(stateDir(), "POST", `/messages/${path}`, { ...body, actor }, timeoutMs);

  const notify = program.command("notify").description("what operators and the web app are to be told");

  notify
    .command("list", { isDefault: true })
    .description("messages that wait or were given up, the oldest first")
    .option("-a, --all", "the delivered ones of the last week, too")
    .option("--json", "as JSON")
    .action(async ({ all = false, json }: { all?: boolean; json?: boolean }) => {
      const messages = await askDaemon<Message[]>(stateDir(), "GET", `/messages?all=${all}`);
      if (json) console.log(JSON.stringify(messages, null, 2));
      else console.log(messages.length === 0 ? "Nothing is to be told." : listed(messages));
    });

  notify
    .command("test")
    .description("send a test to everybody who is configured, and say what became of it")
    .option("--json", "as JSON")
    .action(async ({ json }: { json?: boolean }) => {
      const results = await post<TestResult[]>("test", {}, testTimeoutMs);
      if (json) console.log(JSON.stringify(results, null, 2));
      else if (results.length === 0) console.log("Nobody is configured: set `notify` in the configuration.");
      else
        for (const { channel, ok, detail } of results)
          console.log(`${ok ? "ok  " : "BAD "} ${channel}: ${detail}`);
      if (results.some(({ ok }) => !ok)) process.exitCode = 1;
    });

  notify
    .command("retry")
    .description("try a message again now, from the beginning, though it was given up")
    .argument("[id]", "all that failed, if absent")
    .action(async (id: string | undefined) => {
      const { ids } = await post<{ ids: string[] }>("retry", { id: id ?? null });
      console.log(ids.length === 0 ? "Nothing has failed." : `tried again: ${ids.join(", ")}`);
    });

  notify
    .command("drop")
    .description("tell a message to nobody any more")
    .argument("<id>")
    .action(async (id: string) => {
      await post("drop", { id });
      console.log(`${id} is told to nobody`);
    });
}

function listed(messages: readonly Message[]): string {
  const now = Date.now();
  const rows = messages.map(({ id, channel, type, subject, state, attempts, createdAt, nextAt, error }) => [
    id,
    channel,
    type,
    subject,
    age(createdAt),
    state === "waiting" && nextAt > now ? `waiting ${age(now, nextAt)}` : state,
    String(attempts),
    error ?? "",
  ]);
  return table(["MESSAGE", "TO", "TYPE", "ABOUT", "AGE", "STATE", "TRIES", "LAST ERROR"], rows);
}
