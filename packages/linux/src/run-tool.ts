import { spawn } from "node:child_process";
import { AppError } from "@soci-ts/core";
import { systemError } from "./errno.ts";

/** The one place where mount(8) and its like are looked for; the caller's PATH is not trusted with root's calls. */
export const TOOL_ENVIRONMENT = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** A program that stands in for a system call. */
export type Tool = "mount" | "umount" | "losetup" | "mknod";

/** How a tool ended: what it printed, and its complaint (at most 4 KiB) if it failed. */
export interface ToolResult {
  readonly output: string;
  readonly failure: string | undefined;
}

const MAX_OUTPUT_CHARACTERS = 4096;

/** Runs a tool to its end. @throws AppError if it can't be started. */
export function runTool(
  tool: Tool,
  args: readonly string[],
  inheritedFds: readonly number[] = [],
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, [...args], {
      env: TOOL_ENVIRONMENT,
      stdio: ["ignore", "pipe", "pipe", ...inheritedFds],
    });
    const said = { output: "", complaint: "" };
    const collect = (name: keyof typeof said) => (text: string) => {
      said[name] = (said[name] + text).slice(0, MAX_OUTPUT_CHARACTERS);
    };
    child.stdout?.setEncoding("utf8").on("data", collect("output"));
    child.stderr?.setEncoding("utf8").on("data", collect("complaint"));
    child.once("error", (cause) => reject(AppError.from(cause)));
    child.once("close", (code, signal) => {
      const failure = said.complaint.trim() || `${tool} ended with ${code ?? signal}`;
      resolve({ output: said.output, failure: code === 0 ? undefined : failure });
    });
  });
}

/** What mount(8) and its like print, as errnos. */
const COMPLAINTS: readonly (readonly [RegExp, string])[] = [
  [/busy/, "EBUSY"],
  [/not mounted|no mount point/, "EINVAL"],
  [/unknown filesystem type/, "ENODEV"],
  [/permission denied|superuser|Operation not permitted/i, "EPERM"],
  [/No such file|does not exist/, "ENOENT"],
];

/** The error for a tool's complaint, with the same codes and `details.errno` as the system call's. */
export function toolError(what: string, complaint: string): AppError {
  const known = COMPLAINTS.find(([pattern]) => pattern.test(complaint));
  return systemError(what, known?.[1] ?? "EINVAL", complaint.replaceAll("\n", "; "));
}
