/**
 * The Go programs of the local cloud's tailnet, built from the Go module proxy into the user's cache: the real
 * `tailscale` and `tailscaled`, and the control server in control/. The versions are those of control/go.mod.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { cached, recipeKey } from "../../../pool/setup/cache.ts";

/** Tailscale's release in control/go.mod; stamped into the binaries, which are built from a module, not from git. */
const tailscaleVersion = "1.102.3";

export interface TailscaleBinaries {
  /** The command line client. */
  readonly tailscale: string;
  /** The daemon. */
  readonly tailscaled: string;
  /** Our control server. */
  readonly control: string;
}

const source = join(import.meta.dirname, "control");
const clientSource = join(import.meta.dirname, "goclient");
const stamp = `-X tailscale.com/version.longStamp=${tailscaleVersion} -X tailscale.com/version.shortStamp=${tailscaleVersion}`;

/**
 * Paths of the three programs. The first call on a computer takes 2-4 minutes on two cores and about 1 GB in Go's
 * module cache; later ones find them in a millisecond. A change in the control server rebuilds only that (4 s).
 *
 * @throws when Go is missing or too old, or the build fails; the message has Go's last words.
 */
export async function ensureTailscale(
  options: { readonly onProgress?: (text: string) => void } = {},
): Promise<TailscaleBinaries> {
  const tell = options.onProgress ?? (() => {});
  const modules = [await readFile(join(source, "go.mod")), await readFile(join(source, "go.sum"))];
  const target = `${process.platform}-${process.arch}`;
  const clients = await cached(
    "tailscale",
    recipeKey(target, stamp, ...modules),
    async (dir) => {
      tell(`building tailscale and tailscaled ${tailscaleVersion} (2-4 minutes, once)`);
      await goBuild(source, dir, ["tailscale.com/cmd/tailscale", "tailscale.com/cmd/tailscaled"]);
    },
    () => tell("another process builds tailscaled; waiting for it"),
  );
  const control = await cached(
    "tailscale-control",
    recipeKey(target, ...modules, ...(await goSources(source))),
    async (dir) => {
      tell("building the local Tailscale control server");
      await goBuild(source, dir, ["."]);
    },
    () => tell("another process builds the control server; waiting for it"),
  );
  return {
    tailscale: join(clients.dir, "tailscale"),
    tailscaled: join(clients.dir, "tailscaled"),
    control: join(control.dir, "control"),
  };
}

/** Path of goclient, which drives Tailscale's own Go client of the API (goclient/main.go). Takes 10 s once. */
export async function ensureGoClient(): Promise<string> {
  const modules = [
    await readFile(join(clientSource, "go.mod")),
    await readFile(join(clientSource, "go.sum")),
  ];
  const target = `${process.platform}-${process.arch}`;
  const { dir } = await cached(
    "tailscale-goclient",
    recipeKey(target, ...modules, ...(await goSources(clientSource))),
    (dir) => goBuild(clientSource, dir, ["."]),
  );
  return join(dir, "goclient");
}

/** Names and contents of a folder's Go files, in their order. */
async function goSources(folder: string): Promise<(string | Buffer)[]> {
  const names = (await readdir(folder)).filter((file) => file.endsWith(".go")).sort();
  return (await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))]))).flat();
}

/** CGO is off so that the programs run on any root image, whatever its libc. */
async function goBuild(cwd: string, dir: string, packages: readonly string[]): Promise<void> {
  const flags = ["-trimpath", "-buildvcs=false", "-ldflags", `-s -w ${stamp}`];
  const result = await execa("go", ["build", ...flags, "-o", `${dir}/`, ...packages], {
    cwd,
    env: { CGO_ENABLED: "0" },
    reject: false,
  });
  if (result.code === "ENOENT") {
    throw new Error("go is not installed; the local tailnet needs Go as new as control/go.mod says");
  }
  if (result.failed) throw new Error(`go build ${packages.join(" ")} failed:\n${result.stderr.slice(-2000)}`);
}
