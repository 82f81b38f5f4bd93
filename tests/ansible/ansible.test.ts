import { strict as assert } from "node:assert";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { type Ansible, createAnsible, type PlaybookRun } from "../../pool/ansible/ansible.ts";
import { BorderError } from "../../pool/errors.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { ensureAnsible } from "../../pool/setup/venv.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { type LoopbackSsh, startLoopbackSsh } from "./loopback-ssh.ts";

const canary = "canary-5ecret-0123456789";

describe("ansible-playbook as the daemon runs it", function () {
  // ansible-playbook itself takes 1.5-3 s a run.
  this.timeout(120_000);
  let bin: string;
  let dir: string;
  let server: LoopbackSsh;
  let tmpBefore: string | undefined;

  before(async () => {
    ({ bin } = await ensureAnsible());
  });
  beforeEach(async () => {
    // Short, for the SSH control socket, and of this test alone, so that what is left in it is ours.
    dir = await mkdtemp("/tmp/cpa-");
    tmpBefore = process.env.TMPDIR;
    process.env.TMPDIR = join(dir, "tmp");
    await mkdir(process.env.TMPDIR);
    await mkdir(join(dir, "home"));
    server = await startLoopbackSsh(join(dir, "home"));
  });
  afterEach(async () => {
    if (tmpBefore === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = tmpBefore;
    await server.close();
    await rm(dir, { recursive: true, force: true });
  });

  const ansibleFor = async (tasks: string): Promise<Ansible> => {
    const playbook = join(dir, "play.yml");
    await writeFile(playbook, `- hosts: all\n  gather_facts: false\n  tasks:\n${tasks}`);
    return createAnsible({ bin, playbook, collectionsPath: join(dir, "none"), logDir: join(dir, "logs") });
  };
  const run = (changes: Partial<PlaybookRun> = {}): PlaybookRun => ({
    machine: "claw-test-1",
    host: "127.0.0.1",
    port: server.port,
    username: userInfo().username,
    privateKey: server.userKey,
    hostKey: server.hostKey,
    vars: {},
    secretVars: {},
    timeoutMs: 60_000,
    ...changes,
  });
  const leftovers = async () => readdir(join(dir, "tmp"));
  /** Processes that have this test's folder in their arguments: ansible-playbook, its workers, ssh. */
  const processes = async () => {
    const { stdout } = await execa("ps", ["-A", "-ww", "-o", "pid=,args="]);
    return stdout.split("\n").filter((line) => line.includes(`${dir}/tmp`));
  };
  const fails = async (promise: Promise<unknown>): Promise<BorderError> => {
    const error = await promise.then(
      () => assert.fail("it did not fail"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof BorderError, String(error));
    assert.equal(error.border, "ansible");
    return error;
  };

  it("hands values over as they are: no {{…}} in them is evaluated", async () => {
    const evil = `{{ lookup('pipe', 'touch ${dir}/evaluated') }}`;
    const ansible = await ansibleFor(`
    - name: Write
      ansible.builtin.shell: printf '%s|%s|%s' "$ONE" "$TWO" "$THREE" > out
      environment: { ONE: "{{ text }}", TWO: "{{ list[0].inner }}", THREE: "{{ hidden }}" }
`);
    const vars = { text: evil, list: [{ inner: `{% raw %}${evil}` }] };
    const result = await ansible.prepare(run({ vars, secretVars: { hidden: new Secret(evil) } }));
    assert.deepEqual(result.failure, null);
    assert.equal(await readFile(join(dir, "home", "out"), "utf8"), `${evil}|{% raw %}${evil}|${evil}`);
    assert.ok(!(await readdir(dir)).includes("evaluated"), "the lookup ran");
    // That ansible would have: the same value, given in the plain way.
    await writeFile(join(dir, "plain.json"), JSON.stringify({ text: evil }));
    await writeFile(
      join(dir, "plain.yml"),
      '- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks: [{debug: {msg: "{{ text }}"}}]\n',
    );
    await execa(join(bin, "ansible-playbook"), ["-e", `@${dir}/plain.json`, join(dir, "plain.yml")], {
      env: { LC_ALL: "C.UTF-8", ANSIBLE_HOME: join(dir, "home") },
    });
    assert.ok((await readdir(dir)).includes("evaluated"), "plain values are not evaluated any more");
  });

  it("tells tasks as they come, their times, and what the play reports as installed", async () => {
    const ansible = await ansibleFor(`
    - name: First
      ansible.builtin.command: "true"
    - name: Never
      ansible.builtin.command: "true"
      when: false
    - name: Report
      ansible.builtin.set_stats: {data: {clawpool_installed: {node: v24, count: 3}}}
`);
    const seen: string[] = [];
    const onTask = (task: { name: string; status: string }) => seen.push(`${task.name} ${task.status}`);
    const result = await ansible.prepare(run({ onTask }));
    assert.equal(result.ok, true);
    assert.deepEqual(result.installed, { node: "v24", count: "3" });
    assert.deepEqual(
      result.tasks.map(({ name, status }) => [name, status]),
      [
        ["First", "changed"],
        ["Never", "skipped"],
        ["Report", "ok"],
      ],
    );
    assert.deepEqual(seen.slice(0, 2), ["First started", "First changed"]);
    assert.equal((await stat(result.logFile)).mode & 0o777, 0o600);
  });

  it("names the task that failed, and tells a network's failure from others", async () => {
    const failing = (text: string) => `
    - name: Fetch
      ansible.builtin.shell:
        cmd: |
          echo '${text}' >&2; exit 1
    - name: After
      ansible.builtin.command: "true"
`;
    const broken = await (await ansibleFor(failing("no such option"))).prepare(run());
    assert.equal(broken.ok, false);
    assert.equal(broken.failure?.task, "Fetch");
    assert.match(broken.failure?.message ?? "", /no such option/);
    assert.equal(broken.failure?.kind, "permanent");
    assert.deepEqual(broken.installed, {});
    assert.equal(broken.tasks.length, 1);
    const cut = await (await ansibleFor(failing("curl: (6) Could not resolve host: deb.example"))).prepare(
      run(),
    );
    assert.equal(cut.failure?.kind, "transient");
  });

  it("lets no secret into the log, messages or results, even when a task prints it", async () => {
    const ansible = await ansibleFor(`
    - name: Careless
      ansible.builtin.shell: echo "got {{ token }}" >&2; exit 1
`);
    const result = await ansible.prepare(run({ secretVars: { token: new Secret(canary) } }));
    assert.match(result.failure?.message ?? "", /got \[secret\]/);
    const everything = JSON.stringify(result) + (await readFile(result.logFile, "utf8"));
    assert.ok(!everything.includes(canary));
    assert.ok(!everything.includes("PRIVATE KEY"));
  });

  it("keeps its files to itself while it runs, and removes them", async () => {
    const ansible = await ansibleFor(`
    - name: Look
      ansible.builtin.command: "true"
`);
    let during: Promise<{ mode: number; secrets: number }[]> | undefined;
    const look = async () => {
      const [name = ""] = await leftovers();
      const folder = join(dir, "tmp", name);
      const files = ["vars.json", "key", "hosts.json", "known_hosts", "."];
      return Promise.all(
        files.map(async (file) => {
          const mode = (await stat(join(folder, file))).mode & 0o077;
          const text = file === "." ? "" : await readFile(join(folder, file), "utf8");
          return { mode, secrets: text.split(canary).length - 1 };
        }),
      );
    };
    const onTask = () => {
      during ??= look();
    };
    await ansible.prepare(run({ onTask, secretVars: { token: new Secret(canary) } }));
    const found = (await during) ?? assert.fail("no task was told");
    assert.deepEqual(
      found.map(({ mode }) => mode),
      [0, 0, 0, 0, 0],
    );
    assert.deepEqual(
      found.map(({ secrets }) => secrets),
      [1, 0, 0, 0, 0],
    );
    assert.deepEqual(await leftovers(), []);
    assert.deepEqual(await processes(), []);
  });

  for (const [how, code] of [
    ["a signal", "aborted"],
    ["its deadline", "timeout"],
  ] as const) {
    it(`is ended by ${how} with all its processes, and leaves nothing`, async () => {
      const ansible = await ansibleFor(`
    - name: Hang
      ansible.builtin.command: sleep 600
`);
      const controller = new AbortController();
      const begun = Promise.withResolvers<void>();
      const onTask = () => {
        if (code === "aborted") begun.promise.then(() => controller.abort());
        begun.resolve();
      };
      const timeoutMs = code === "timeout" ? 2_500 : 60_000;
      const error = await fails(ansible.prepare(run({ onTask, timeoutMs }), controller.signal));
      assert.equal(error.kind, "transient");
      assert.equal(error.code, code);
      assert.deepEqual(await leftovers(), []);
      assert.deepEqual(await processes(), []);
      await server.idle();
      assert.equal(server.running(), 0);
    });
  }

  it("calls a host that cannot be reached transient", async () => {
    const ansible = await ansibleFor('    - ansible.builtin.command: "true"\n');
    const { port } = server;
    await server.close();
    const error = await fails(ansible.prepare(run({ port })));
    assert.deepEqual([error.kind, error.code], ["transient", "unreachable"]);
    assert.deepEqual(await leftovers(), []);
  });

  it("refuses a host whose key is not the pinned one, before any command runs", async () => {
    const ansible = await ansibleFor("    - ansible.builtin.shell: touch ran\n");
    const other = generateKeyPair().publicKey.split(" ").slice(0, 2).join(" ");
    const error = await fails(ansible.prepare(run({ hostKey: other })));
    assert.deepEqual([error.kind, error.code], ["permanent", "host_key"]);
    assert.deepEqual(await readdir(join(dir, "home")), []);
  });

  it("calls a refused key a matter of credentials", async () => {
    const ansible = await ansibleFor('    - ansible.builtin.command: "true"\n');
    const { privateKey } = generateKeyPair();
    const error = await fails(ansible.prepare(run({ privateKey })));
    assert.deepEqual([error.kind, error.code], ["auth", "refused"]);
  });

  it("says what Ansible says about a playbook it cannot read", async () => {
    const ansible = await ansibleFor("    - no.such.module: {}\n");
    const error = await fails(ansible.prepare(run()));
    assert.deepEqual([error.kind, error.code], ["permanent", "playbook"]);
    assert.match(error.message, /no\.such\.module/);
  });

  it("says so when ansible-playbook itself is missing", async () => {
    await ansibleFor('    - ansible.builtin.command: "true"\n');
    const [playbook, logDir] = [join(dir, "play.yml"), join(dir, "logs")];
    const ansible = createAnsible({ bin: join(dir, "nothing"), playbook, collectionsPath: dir, logDir });
    const error = await fails(ansible.prepare(run()));
    assert.deepEqual([error.kind, error.code], ["permanent", "playbook"]);
    assert.deepEqual(await leftovers(), []);
  });

  it("removes what a dead daemon left in the temporary folder, and nothing of a living one", async () => {
    const dead = join(dir, "tmp", "clawpool-ansible-dead01");
    const alive = join(dir, "tmp", "clawpool-ansible-alive1");
    const { stdout: startedAt } = await execa("ps", ["-o", "lstart=", "-p", String(process.pid)], {
      env: { LC_ALL: "C" },
    });
    for (const [folder, owner] of [
      [dead, { pid: process.pid, startedAt: "Thu Jan  1 00:00:00 1970" }],
      [alive, { pid: process.pid, startedAt: startedAt.trim() }],
    ] as const) {
      await mkdir(folder);
      await writeFile(join(folder, "vars.json"), canary);
      await writeFile(join(folder, "owner"), JSON.stringify(owner));
    }
    const ansible = await ansibleFor('    - ansible.builtin.command: "true"\n');
    await ansible.prepare(run());
    assert.deepEqual(await leftovers(), ["clawpool-ansible-alive1"]);
  });

  it("writes files once, whole, with owner and mode", async () => {
    const user = userInfo().username;
    const ansible = await ansibleFor(`
    - name: Files
      clawpool_files:
        files:
          - {path: "{{ folder }}", owner: ${user}, mode: "0700"}
          - {path: "{{ folder }}/one", owner: ${user}, mode: "0640", content: "{{ content }}"}
`);
    const folder = join(dir, "home", "made");
    const vars = { folder, content: "{{ not evaluated }}\n" };
    const first = await ansible.prepare(run({ vars }));
    assert.equal(first.tasks[0]?.status, "changed");
    assert.equal(await readFile(join(folder, "one"), "utf8"), vars.content);
    assert.equal((await stat(join(folder, "one"))).mode & 0o777, 0o640);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    const second = await ansible.prepare(run({ vars }));
    assert.equal(second.tasks[0]?.status, "ok");
    assert.deepEqual(await readdir(folder), ["one"]);
  });

  for (const [what, changes] of [
    ["a machine name", { machine: "claw\n  ansible_connection: local" }],
    ["a host", { host: "-oProxyCommand=id" }],
    ["a user name", { username: "root -oX" }],
    ["a host key", { hostKey: "ssh-ed25519 AAAA\n* ssh-ed25519 BBBB" }],
    ["vars", { vars: { inner: { token: new Secret(canary) } } }],
  ] as const) {
    it(`refuses ${what} that does not belong there`, async () => {
      const ansible = await ansibleFor('    - ansible.builtin.command: "true"\n');
      await assert.rejects(ansible.prepare(run(changes)), TypeError);
      assert.deepEqual(await leftovers(), []);
    });
  }
});
