import type { Store } from "../../../pool/store/store.ts";

export interface StoreUnderTest {
  /** New for each test. */
  readonly store: Store;
  /** A millisecond passes on the clock that it goes by. */
  tick(): void;
}
