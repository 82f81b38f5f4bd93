/**
 * A daemon that goes on when it is told that another one has taken over, as one whose end is delayed would: the whole of
 * `startDaemon`, without what `clawpool serve` does then.
 */
import { loadSource } from "../../pool/config/load.ts";
import { startDaemon } from "../../pool/daemon.ts";
import { createLog } from "../../pool/observe/log.ts";

const [configFile = ""] = process.argv.slice(2);
const source = loadSource(configFile);
await startDaemon({ source, log: createLog(source.config.log.level), onFenced: () => {} });
