import { strict as assert } from "node:assert";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { ensureAnsible, ensureCollections } from "../../pool/setup/venv.ts";

describe("the Python environment with ansible-core", function () {
  this.timeout(120_000);
  let dir: string;
  let before: Record<string, string | undefined>;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "clawpool-venv-"));
    const { CLAWPOOL_CACHE, CLAWPOOL_PYTHON } = process.env;
    before = { CLAWPOOL_CACHE, CLAWPOOL_PYTHON };
  });
  afterEach(async () => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await rm(dir, { recursive: true, force: true });
  });

  const script = async (name: string, text: string): Promise<string> => {
    const file = join(dir, name);
    await writeFile(file, `#!/bin/sh\n${text}\n`);
    await chmod(file, 0o755);
    return file;
  };

  it("has the pinned ansible-core, whose programs start where they are", async () => {
    const { bin } = await ensureAnsible();
    const { stdout } = await execa(join(bin, "ansible-playbook"), ["--version"], {
      env: { LC_ALL: "C.UTF-8" },
    });
    assert.match(stdout, /^ansible-playbook \[core 2\.19\.14\]/);
    assert.deepEqual(await ensureAnsible(), { bin });
  });

  it("names what is missing when Python is too old or absent, and leaves nothing", async () => {
    process.env.CLAWPOOL_CACHE = join(dir, "cache");
    process.env.CLAWPOOL_PYTHON = await script("python", "echo 3 9 2 /usr/bin/python3.9");
    await assert.rejects(ensureAnsible(), /is 3\.9; ansible-core needs Python 3\.11 or newer/);
    process.env.CLAWPOOL_PYTHON = join(dir, "no-such-python");
    await assert.rejects(ensureAnsible(), /install Python 3\.11/);
    assert.deepEqual(await readdir(dir), ["python"]);
  });

  it("passes on why collections could not be installed, and leaves nothing", async () => {
    process.env.CLAWPOOL_CACHE = join(dir, "cache");
    await script("ansible-galaxy", "echo 'Could not resolve host: github.com' >&2; exit 1");
    const requirementsFile = join(dir, "requirements.yml");
    await writeFile(requirementsFile, "collections: []\n");
    await assert.rejects(
      ensureCollections({ requirementsFile, bin: dir }),
      /are github\.com and galaxy\.ansible\.com reachable[\s\S]*Could not resolve host: github\.com/,
    );
    assert.deepEqual(await readdir(join(dir, "cache")), []);
  });

  it("installs collections once for a requirements file", async () => {
    process.env.CLAWPOOL_CACHE = join(dir, "cache");
    await script("ansible-galaxy", `echo ran >> ${dir}/runs; mkdir -p "$6/ansible_collections"`);
    const requirementsFile = join(dir, "requirements.yml");
    await writeFile(requirementsFile, "collections: []\n");
    const { path } = await ensureCollections({ requirementsFile, bin: dir });
    assert.deepEqual(await readdir(path), ["ansible_collections"]);
    assert.deepEqual(await ensureCollections({ requirementsFile, bin: dir }), { path });
    assert.equal((await execa("wc", ["-l", join(dir, "runs")])).stdout.split(" ")[0], "1");
  });
});
