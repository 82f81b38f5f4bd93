import { wholeWay } from "./way.ts";

wholeWay("process");
