// On a folder machine, what systemctl, sshd's reload and loginctl are on a real one: one line to whoever plays init.
import { createConnection } from "node:net";

const socket = createConnection(process.env.MACHINE_CONTROL);
let answer = "";
socket.setEncoding("utf8").on("data", (text) => {
  answer += text;
});
socket.on("error", (error) => {
  console.error(`machinectl: ${error.code}`);
  process.exitCode = 1;
});
socket.on("end", () => {
  const { ok, text } = JSON.parse(answer);
  (ok ? console.log : console.error)(text);
  if (!ok) process.exitCode = 1;
});
socket.end(process.argv.slice(2).join(" "));
