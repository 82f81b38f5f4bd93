/** All mutations; each file of the list is a part of the program's promises. */
import { cloud } from "./list/cloud.ts";
import { machines } from "./list/machines.ts";
import { payments } from "./list/payments.ts";
import { recovery } from "./list/recovery.ts";
import { store } from "./list/store.ts";
import type { Mutation } from "./mutation.ts";

export const mutations: readonly Mutation[] = [...payments, ...store, ...machines, ...cloud, ...recovery];
