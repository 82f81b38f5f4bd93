/**
 * Which CPUs of the host a machine gets, in the form of cpuset files ("0-3,6"). A quota alone would leave a machine
 * of one core with as many worker threads as the host has CPUs.
 *
 * @param available what the machine may choose from, in the same form
 */
export function cpusOf(available: string, { cores, slot }: { cores: number; slot: number }): string {
  const cpus = available
    .trim()
    .split(",")
    .flatMap((part) => {
      const [first = 0, last = first] = part.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
  const count = Math.min(Math.max(1, Math.ceil(cores)), cpus.length);
  // Machines of few cores are spread over the host, each beginning where the one before it ended.
  const chosen = Array.from({ length: count }, (_, i) => cpus[(slot * count + i) % cpus.length] ?? 0);
  return chosen.sort((a, b) => a - b).join(",");
}
