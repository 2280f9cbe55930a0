import { readFileSync } from "node:fs";
import type { Config } from "../config.ts";

/** Whether overlayfs is to keep its marks in `user.*`: as configured, else in a user namespace, where it can't write `trusted.*`. */
export function usesUserXattrs({ mount }: Config): boolean {
  if (mount.userxattr !== "auto") return mount.userxattr === "on";
  // The first namespace maps all ids to themselves (user_namespaces(7)).
  const map = readFileSync("/proc/self/uid_map", "latin1").trim().split(/\s+/);
  return map.join(" ") !== "0 0 4294967295";
}
