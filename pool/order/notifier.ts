/** Tells whoever follows an order that its history grew. The history itself is read from the store, so nothing is
 *  lost or told twice, whenever somebody begins to listen. */
export interface OrderNotifier {
  /** @returns a function that ends the subscription. */
  subscribe(order: string, onChange: () => void): () => void;
  /** Call after the commit that made the event. */
  notify(order: string): void;
}

export function createOrderNotifier(): OrderNotifier {
  const listeners = new Map<string, Set<() => void>>();
  return {
    subscribe(order, onChange) {
      const those = listeners.get(order) ?? new Set();
      listeners.set(order, those);
      // A wrapper of its own, so that the same function given twice is two subscriptions.
      const listener = () => onChange();
      those.add(listener);
      return () => {
        those.delete(listener);
        if (those.size === 0 && listeners.get(order) === those) listeners.delete(order);
      };
    },
    notify(order) {
      for (const listener of [...(listeners.get(order) ?? [])]) listener();
    },
  };
}
