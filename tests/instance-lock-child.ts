/** Takes the lock that its argument names, says so, and holds it until it dies. */
import { lockInstance } from "../pool/store/instance-lock.ts";

const unlock = lockInstance(process.argv[2] ?? "");
console.log(unlock ? "held" : "refused");
if (unlock) process.stdin.resume();
