/** The public addresses of one local cloud, those that nobody has in the order in which they are given away. */
export interface AddressPool {
  /** @throws when all are in use. */
  take(): string;
  /** Nothing happens for an address that nobody has. */
  free(ipv4: string): void;
  isTaken(ipv4: string): boolean;
  /** See `MachineBackend.reuseAddressesAtOnce`. */
  reuseAtOnce: boolean;
}

export function addressPool(addresses: readonly string[]): AddressPool {
  const free = [...addresses];
  const taken = new Set<string>();
  return {
    reuseAtOnce: false,
    take() {
      const ipv4 = free.shift();
      if (ipv4 === undefined) throw new Error(`all ${addresses.length} addresses are in use`);
      taken.add(ipv4);
      return ipv4;
    },
    free(ipv4) {
      if (!taken.delete(ipv4)) return;
      if (this.reuseAtOnce) free.unshift(ipv4);
      else free.push(ipv4);
    },
    isTaken: (ipv4) => taken.has(ipv4),
  };
}
