/** The agent's environment as a caller may give it: which names, which values, how much. */

export const environmentLimits = { variables: 64, bytes: 32 * 1024, nameLength: 128, valueLength: 16_384 };

const namePattern = /^[A-Z_][A-Z0-9_]*$/;

/**
 * Names that decide what a process loads, runs or trusts rather than what the agent knows; and our own.
 * `CLAW_MODEL_API_KEY` and its like for other providers are the one part of `CLAW_` that orders are meant to set.
 */
const reserved = [
  /^(PATH|HOME|SHELL|USER|LOGNAME|PWD|OLDPWD|IFS|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|PROMPT_COMMAND|CDPATH|PS4|GLOBIGNORE)$/,
  /^(TMPDIR|TEMP|TMP|HOSTALIASES|LOCALDOMAIN|RES_OPTIONS|NOTIFY_SOCKET|WATCHDOG_PID|WATCHDOG_USEC|EDITOR|PAGER)$/,
  /^(LD|DYLD|GCONV|MALLOC|NODE|NPM|OPENSSL|SSL|XDG|DBUS|SYSTEMD|LISTEN|SUDO|SSH|GIT|PYTHON|PERL5?|RUBY|TS|OPENCLAW)_/,
  /^(PERL5LIB|PERL5OPT|RUBYOPT|RUBYLIB|PYTHONPATH|PYTHONHOME|PYTHONSTARTUP|SSLKEYLOGFILE|PNPM_HOME)$/,
  /^CLAW_(?!(?:[A-Z0-9]+_)*API_KEY$)/,
];

export interface EnvironmentProblem {
  /** The variable, or null for the environment as a whole. A name that is not allowed is never repeated: somebody
   *  may have put the value where the name belongs. */
  readonly name: string | null;
  readonly detail: string;
  readonly remedy: string;
}

/** Checks `value` and gives it back as plain text pairs, or everything that is wrong with it. */
export function readEnvironment(
  value: unknown,
): { env: Record<string, string> } | { problems: EnvironmentProblem[] } {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const remedy = 'an object of texts, e.g. {"ANTHROPIC_API_KEY": "…"}';
    return { problems: [{ name: null, detail: "the environment is not an object", remedy }] };
  }
  const entries = Object.entries(value);
  const problems = [...sizeProblems(entries), ...entries.flatMap(variableProblems)];
  return problems.length > 0 ? { problems } : { env: Object.fromEntries(entries) };
}

function sizeProblems(entries: readonly [string, unknown][]): EnvironmentProblem[] {
  const problems: EnvironmentProblem[] = [];
  const { variables, bytes } = environmentLimits;
  if (entries.length > variables) {
    const remedy = `at most ${variables} variables`;
    problems.push({ name: null, detail: `the environment has ${entries.length} variables`, remedy });
  }
  const size = entries.reduce(
    (sum, [name, text]) =>
      sum + Buffer.byteLength(name) + (typeof text === "string" ? Buffer.byteLength(text) : 0),
    0,
  );
  if (size > bytes) {
    const remedy = `at most ${bytes} bytes of names and values together`;
    problems.push({ name: null, detail: `the environment is ${size} bytes long`, remedy });
  }
  return problems;
}

function variableProblems([name, value]: [string, unknown], index: number): EnvironmentProblem[] {
  const problem = (known: boolean, detail: string, remedy: string): EnvironmentProblem[] => [
    { name: known ? name : null, detail, remedy },
  ];
  const { nameLength, valueLength } = environmentLimits;
  if (!namePattern.test(name) || name.length > nameLength) {
    return problem(
      false,
      `variable ${index + 1} of the environment has a name that is not allowed`,
      `names match ${namePattern.source} and have at most ${nameLength} characters`,
    );
  }
  if (reserved.some((pattern) => pattern.test(name))) {
    return problem(
      true,
      `${name} is reserved`,
      "leave it out: it would change how the machine runs programs",
    );
  }
  if (typeof value !== "string") return problem(true, `${name} is not a text`, "put the value in quotes");
  if (value.length > valueLength) {
    return problem(
      true,
      `${name} has ${value.length} characters`,
      `at most ${valueLength} characters a value`,
    );
  }
  if (!isOneLine(value)) {
    return problem(
      true,
      `${name} has a line break, NUL, another control character or a broken surrogate`,
      "give it on one line, in base64 where it has several",
    );
  }
  if (!fitsDotenv(value)) {
    return problem(true, `${name} mixes quotes in a way that .env cannot carry`, "give it in base64");
  }
  return [];
}

function isOneLine(value: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  return value.isWellFormed() && !/[\x00-\x1f\x7f\u2028\u2029]/.test(value);
}

/** Whether dotenv reads some quoting of `value` back unchanged: it has no escapes, only three kinds of quotes. */
function fitsDotenv(value: string): boolean {
  const literal = !value.endsWith("\\") && (!value.includes("'") || !value.includes("`"));
  return (
    literal || (!value.includes('"') && !value.includes("\\")) || /^[A-Za-z0-9_./:@+=,-]+\\*$/.test(value)
  );
}
