import { accessSync, constants } from "node:fs";

/** A line for the person who watches. */
export function say(line: string): void {
  console.log(line);
}

/** Bytes as text, in 10^6 bytes. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Milliseconds as text, in seconds. */
export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

/** What keeps this process from mounting, and what to do; undefined if nothing does. */
export function whyNoMount(): string | undefined {
  if (process.getuid?.() !== 0) return "mounts need root (run it with sudo)";
  try {
    accessSync("/dev/fuse", constants.R_OK);
    return undefined;
  } catch {
    return "/dev/fuse is not there (modprobe fuse, or give the container the device)";
  }
}
