/** The hand-over program as machines get it: one file without dependencies, made of ansible/files/machine. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const entry = fileURLToPath(new URL("../../ansible/files/machine/main.mjs", import.meta.url));

/** The text of the program, readable and not minified: an operator may want to know what runs as root there. */
export async function programText(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    platform: "node",
    target: "node24",
    legalComments: "inline",
    logLevel: "silent",
  });
  const [file] = outputFiles;
  if (!file) throw new Error(`nothing was bundled from ${entry}`);
  return file.text;
}
