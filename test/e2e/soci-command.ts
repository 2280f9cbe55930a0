import { fileURLToPath } from "node:url";
import { command } from "@soci-ts/testkit";

/** Path of the program, for tests that start it themselves. */
export const SOCI_PROGRAM: string = fileURLToPath(
  new URL("../../../apps/cli/bin/soci.js", import.meta.url),
);

/** Where `--root` points, and how long the command may take. */
export interface SociCommandOptions {
  readonly root: string;
  readonly timeoutMs?: number;
}

/** Runs the real `soci` program with `--json` and answers the document that it prints. Rejects with its stderr if it fails. */
export async function soci(options: SociCommandOptions, ...args: string[]): Promise<unknown> {
  const { stdout } = await command(
    process.execPath,
    [SOCI_PROGRAM, "--root", options.root, "--json", ...args],
    { timeoutMs: options.timeoutMs ?? 120_000 },
  );
  return JSON.parse(stdout) as unknown;
}

/** A reason to skip a test that mounts, or false. */
export function mountSkipReason(): string | false {
  return process.getuid?.() === 0 ? false : "mounts need root";
}
